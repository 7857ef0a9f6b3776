"""The workers that the coordinator knows, and when each was last heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loadtest.engine.wire.protocol import LOST_AFTER_S, PROTOCOL
from loadtest.units import NS_PER_S

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
    """

    def __init__(self, monotonic_ns: Callable[[], int], lost_after_s: float = LOST_AFTER_S) -> None:
        self.entries: dict[str, WorkerEntry] = {}
        self.refused: dict[str, str] = {}
        """Name of a worker that cannot take part -> why."""
        self._monotonic_ns = monotonic_ns
        self._lost_after_ns = int(lost_after_s * NS_PER_S)

    def hello(self, client_id: str, data: dict[str, Any]) -> None:
        """Take in a worker's introduction; one of another protocol is refused."""
        name, region = data.get("name"), data.get("region")
        if not isinstance(name, str) or not isinstance(region, str) or not name or not region:
            return
        if data.get("protocol") != PROTOCOL:
            self.refused[name] = (
                f"speaks protocol {data.get('protocol')!r}, not {PROTOCOL}: "
                "coordinator and workers must run the same version"
            )
            return
        entry = self.entries.get(client_id)
        if entry is None:
            entry = self.entries[client_id] = WorkerEntry(client_id, name[:200], region[:40])
            versions = data.get("versions")
            if isinstance(versions, dict):
                entry.versions = {str(k): str(v) for k, v in list(versions.items())[:20]}
        entry.state = str(data.get("state", "idle"))
        entry.heard_ns = self._monotonic_ns()

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
