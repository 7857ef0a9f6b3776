"""
What becomes of writes that several caches make at once: as they arrive, or the last one wins.

A cache tells of its writes one after the other.  Each is given a stamp where it was made, its time
and its region, and is carried to the others.  As they arrive, two caches that set one key at once
end with each other's value and keep it.  Where the last write wins, every cache drops what is older
than what it has, so all end with the same one.

That holds for whole values: SET and DEL.  Whatever else is written, such as INCR, is no value but
a change of one, and is applied as it arrives: increments add up in any order.

Nothing here touches a socket or a clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

Words = tuple[bytes, ...]

MOST_KEYS: Final = 200_000
"""Keys whose latest stamp is kept; of those beyond, the one longest unwritten is forgotten."""

_SETS: Final = frozenset({b"SET", b"SETNX", b"GETSET"})
_DELETES: Final = frozenset({b"DEL", b"UNLINK", b"GETDEL"})


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """When and where a write was made: a total order, since no region uses one time twice."""

    time_ns: int
    origin: str


@dataclass(frozen=True, slots=True, order=True)
class Effect:
    """
    One write.

    Args:
        stamp: When and where it was made.
        database: Number of the database that it is in.
        words: The command.
    """

    stamp: Stamp
    database: int
    words: Words

    @property
    def register(self) -> tuple[int, bytes] | None:
        """Return the key whose whole value it is; None where it changes one."""
        return (self.database, self.words[1]) if self.words[0] in (b"SET", b"DEL") else None


def later(one: Effect, other: Effect) -> Effect:
    """Return which of two values of one key is to stay."""
    return max(one, other)


def plain(words: Iterable[bytes]) -> list[Words]:
    """
    Return a command as commands of one key each, in the one spelling that they are merged by.

    A condition (NX, XX) was true where the write was made, so it is left out.
    """
    name, *rest = words
    name = name.upper()
    if name in _DELETES and rest:
        return [(b"DEL", key) for key in rest]
    if name in _SETS and len(rest) >= 2:
        return [(b"SET", rest[0], rest[1], *_lifetime(rest[2:]))]
    if name in (b"MSET", b"MSETNX") and rest and len(rest) % 2 == 0:
        return [(b"SET", *pair) for pair in zip(rest[::2], rest[1::2], strict=True)]
    return [(name, *rest)]


def _lifetime(options: list[bytes]) -> Words:
    for at, option in enumerate(options):
        if option.upper() == b"KEEPTTL":
            return (b"KEEPTTL",)
        if option.upper() == b"PXAT" and at + 1 < len(options):
            return (b"PXAT", options[at + 1])
    return ()


class Merge:
    """
    Decides for one cache what is carried to the others, and what of theirs is applied.

    Args:
        origin: Region of this cache.
        last_wins: Databases in which the last write wins; in all others writes are applied as they
            arrive.
        most_keys: See `MOST_KEYS`.
    """

    def __init__(
        self, origin: str, last_wins: Collection[int] = (), most_keys: int = MOST_KEYS
    ) -> None:
        self._origin = origin
        self._last_wins = frozenset(last_wins)
        self._most_keys = most_keys
        self._latest: OrderedDict[tuple[int, bytes], Effect] = OrderedDict()
        self._clock_ns = 0
        self.dropped = 0

    def local(self, database: int, words: Iterable[bytes], now_ns: int) -> list[Effect]:
        """
        Return what to carry to the others of a write that this cache tells of.

        Its stamp is later than that of all that was seen before, whatever the clocks say: who wrote
        last here knew of it.

        Args:
            database: Number of the database.
            words: The command.
            now_ns: The time, in nanoseconds since the UNIX epoch.
        """
        effects = []
        for single in plain(words):
            self._clock_ns = max(now_ns, self._clock_ns + 1)
            effect = Effect(Stamp(self._clock_ns, self._origin), database, single)
            self._keep(effect)
            effects.append(effect)
        return effects

    def remote(self, effect: Effect) -> bool:
        """Tell whether a write of another cache is to be applied here."""
        self._clock_ns = max(self._clock_ns, effect.stamp.time_ns)
        known = self._known(effect)
        if known is not None and later(known, effect) is known:
            self.dropped += 1
            return False
        self._keep(effect)
        return True

    def applied(self, effect: Effect) -> Effect | None:
        """
        Return what to apply again, when this cache tells that a write of another is applied.

        While that was on its way, the cache may have taken a later write of its own, which is now
        overwritten by the older one.
        """
        known = self._known(effect)
        return known if known is not None and known.stamp > effect.stamp else None

    def _known(self, effect: Effect) -> Effect | None:
        key = effect.register
        if key is None or effect.database not in self._last_wins:
            return None
        return self._latest.get(key)

    def _keep(self, effect: Effect) -> None:
        key = effect.register
        if key is None or effect.database not in self._last_wins:
            return
        self._latest[key] = effect
        self._latest.move_to_end(key)
        if len(self._latest) > self._most_keys:
            self._latest.popitem(last=False)
