"""The workers that the coordinator knows, and when each was last heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.engine.wire.protocol import LOST_AFTER_S, PROTOCOL
from loadtest.units import NS_PER_S
from loadtest.versions import versions_of

_FORGET_AFTER_NS = int(120 * NS_PER_S)


@dataclass(slots=True)
class WorkerEntry:
    """One worker process, by its own words."""

    client_id: str
    name: str
    region: str
    state: str = "idle"
    heard_ns: int = 0
    versions: dict[str, str] = field(default_factory=dict)


class Roster:
    """
    Keeps track of workers by their messages.

    Args:
        monotonic_ns: Clock.
        lost_after_s: Silence after which a worker counts as lost.
        version: Of loadtest, which every worker has to have; empty takes our own.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int],
        lost_after_s: float = LOST_AFTER_S,
        version: str = "",
    ) -> None:
        self.entries: dict[str, WorkerEntry] = {}
        self.version = version or versions_of(("loadtest",))["loadtest"]
        self._refused: dict[str, tuple[str, int]] = {}
        self._monotonic_ns = monotonic_ns
        self._lost_after_ns = int(lost_after_s * NS_PER_S)

    @property
    def refused(self) -> dict[str, str]:
        """Name of a worker that cannot take part -> why; only of those that still ask to."""
        now = self._monotonic_ns()
        return {
            name: why
            for name, (why, heard_ns) in self._refused.items()
            if now - heard_ns <= self._lost_after_ns
        }

    def hello(self, client_id: str, data: dict[str, object]) -> None:
        """Take in a worker's introduction; one of another protocol or version is refused."""
        name, region = data.get("name"), data.get("region")
        if not isinstance(name, str) or not isinstance(region, str) or not name or not region:
            return
        versions = data.get("versions")
        told = (
            {str(k): str(v) for k, v in list(versions.items())[:20]}
            if isinstance(versions, dict)
            else {}
        )
        if why := self._cannot(data.get("protocol"), told.get("loadtest", "")):
            fresh = self.refused
            self._refused = {k: v for k, v in self._refused.items() if k in fresh}
            self._refused[name[:200]] = (f"({region[:40]}) {why}", self._monotonic_ns())
            return
        entry = self.entries.get(client_id)
        if entry is None:
            entry = WorkerEntry(client_id, name[:200], region[:40], versions=told)
            self.entries[client_id] = entry
        entry.state = str(data.get("state", "idle"))
        entry.heard_ns = self._monotonic_ns()

    def _cannot(self, protocol: object, version: str) -> str:
        """Return why a worker cannot take part; empty where it can."""
        if protocol != PROTOCOL:
            return (
                f"speaks protocol {protocol!r}, not {PROTOCOL}: "
                "coordinator and workers must run the same version"
            )
        if version != self.version:
            return (
                f"runs loadtest {version[:40] or 'of an unknown version'}, the coordinator "
                f"{self.version}: coordinator and workers must run the same version"
            )
        return ""

    def heard(self, client_id: str) -> None:
        """Note that a worker said something."""
        entry = self.entries.get(client_id)
        if entry is not None:
            entry.heard_ns = self._monotonic_ns()

    def silent(self, client_id: str) -> bool:
        """Tell whether a worker has been silent for so long that it counts as lost."""
        entry = self.entries.get(client_id)
        return entry is None or self._monotonic_ns() - entry.heard_ns > self._lost_after_ns

    def present(self, region: str | None = None) -> list[WorkerEntry]:
        """Return the workers that are not silent, of one region or of all, by name."""
        now = self._monotonic_ns()
        for client_id, entry in list(self.entries.items()):
            if now - entry.heard_ns > _FORGET_AFTER_NS:
                del self.entries[client_id]
        return sorted(
            (
                entry
                for entry in self.entries.values()
                if (region is None or entry.region == region) and not self.silent(entry.client_id)
            ),
            key=lambda entry: (entry.region, entry.name),
        )
