"""The world's watch over a load, from the API's form into the facts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from loadtest.errors import RecordsError, WorldError
from loadtest.records.facts import read, to_json
from loadtest.records.watch import WATCH_SCHEMA, NoWatch, WatchFacts

NOT_OURS: Final = "the network and the machines are not ours to look into"

_ENDS: Final = {"from": "a", "to": "b"}


class Watched(Protocol):
    """What a world can tell that watches over a load."""

    def counters(self) -> dict[str, Any]:
        """Return what passed links and edges so far."""
        ...

    def watch(self) -> dict[str, Any]:
        """Begin to watch; return where machines' connections lead."""
        ...

    def watched(self, *, over: bool) -> dict[str, Any]:
        """Return what was seen; end the watch if the load is ``over``."""
        ...


class LoadWatch:
    """
    The watch of a place over the load of one run.

    Args:
        extras: The embedded world; None where there is none, and nothing is seen.
    """

    def __init__(self, extras: Watched | None) -> None:
        self._extras = extras
        self._counters: dict[str, Any] = {}
        self._paths: dict[str, Any] = {}
        if extras is not None:
            self._counters, self._paths = extras.counters(), extras.watch()

    def tell(self, world: dict[str, Any], *, over: bool) -> None:
        """
        Write into ``world`` what was seen and counted until now.

        Args:
            world: Content of world.json.
            over: The load is over, and the watch with it.

        Raises:
            WorldError: The world does not answer, or is of another version.
        """
        if self._extras is not None:
            world["counters"] = {"before": self._counters, "after": self._extras.counters()}
            world["watch"] = watch_facts(self._paths, self._extras.watched(over=over))


def watch_facts(before: Mapping[str, Any], seen: Mapping[str, Any]) -> Any:
    """
    Return ``watch`` of world.json.

    Args:
        before: What the world answered when it began to watch: where connections lead.
        seen: What it answered at the end.

    Raises:
        WorldError: The world is of another version.
    """
    try:
        return to_json(_facts(before, seen))
    except (RecordsError, LookupError, AttributeError) as error:
        raise WorldError(f"the world told its watch as another version would: {error}") from error


def _facts(before: Mapping[str, Any], seen: Mapping[str, Any]) -> WatchFacts:
    content = {key: value for key, value in seen.items() if key != "paths"}
    content["pairs"] = [
        {_ENDS.get(key, key): value for key, value in pair.items()} for pair in seen["pairs"]
    ]
    content |= {"paths_before": before, "paths_after": seen["paths"], "schema": WATCH_SCHEMA}
    return read(WatchFacts, content, "/world/watch")


def no_watch() -> Any:
    """Return ``watch`` of a world that cannot tell."""
    return to_json(NoWatch(WATCH_SCHEMA, NOT_OURS))
