"""What an embedded world sees of itself at this moment."""

from __future__ import annotations

from typing import Protocol

from loadtest.records.watch import MachineEnd, WorldGlance


class Glanced(Protocol):
    """A world that can be looked at while there is load."""

    def glance(self) -> WorldGlance:
        """Return the latest round trips of its links, and what happened to its machines."""
        ...


def event_words(event: MachineEnd) -> str:
    """Return what happened to a machine, for people."""
    asked = "asked for" if event.asked else "unasked"
    code = "" if event.exit_code is None else f", exit code {event.exit_code}"
    return f"{event.app} in {event.region}: machine {event.event}, {asked}{code}"
