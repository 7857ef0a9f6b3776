"""What an embedded world sees of itself at this moment, as frozen types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loadtest.errors import WorldError


class Glanced(Protocol):
    """A world that can be looked at while there is load."""

    def glance(self) -> dict[str, Any]:
        """Return the latest round trips of its links, and what happened to its machines."""
        ...


@dataclass(frozen=True, slots=True)
class LinkGlance:
    """
    The latest pings between two regions.

    ``p50_ms`` is the median round trip of those that came back, None if none did; ``lost`` of
    ``sent`` did not.
    """

    a: str
    b: str
    configured_ms: float
    p50_ms: float | None
    sent: int
    lost: int


@dataclass(frozen=True, slots=True)
class GlancedEvent:
    """Something that happened in the world, ``t_s`` seconds after it began to watch."""

    t_s: float
    text: str


@dataclass(frozen=True, slots=True)
class WorldGlance:
    """Links and events of a world; ``late_ms`` is how late its links delivered (p99, 1 s)."""

    links: tuple[LinkGlance, ...]
    events: tuple[GlancedEvent, ...]
    late_ms: float | None


def read_glance(value: Mapping[str, Any]) -> WorldGlance:
    """
    Return what a world's answer says.

    Raises:
        WorldError: It is of another version; names what is missing.
    """
    try:
        return WorldGlance(
            links=tuple(
                LinkGlance(
                    str(link["from"]),
                    str(link["to"]),
                    float(link["configured_rtt_ms"]),
                    None if link["rtt_p50_ms"] is None else float(link["rtt_p50_ms"]),
                    int(link["sent"]),
                    int(link["lost"]),
                )
                for link in value["links"]
            ),
            events=tuple(GlancedEvent(e["t_ms"] / 1_000, _words(e)) for e in value["events"]),
            late_ms=None if value["late_p99_us"] is None else value["late_p99_us"] / 1_000,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise WorldError(
            f"the world's view of itself is of another version ({type(error).__name__}: {error})"
        ) from error


def _words(event: Mapping[str, Any]) -> str:
    asked = "asked for" if event["asked"] else "unasked"
    code = "" if event["exit_code"] is None else f", exit code {event['exit_code']}"
    return f"{event['app']} in {event['region']}: machine {event['event']}, {asked}{code}"
