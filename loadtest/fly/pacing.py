"""
Fly's rate limits, in one place for the client that keeps below them and for what emulates them.

One call a second and three at once for each action on each machine or app; five and ten for reading
one machine; a hundred apps deleted a minute.  The document does not say what calls count as that
name neither an app nor a machine: here they count together, action by action.

Source: fly.io/docs/machines/api/working-with-machines-api, "Rate Limits".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtest.units import NS_PER_S

_MACHINE_PLACE = 4


class Counted(NamedTuple):
    """What calls count together as: an action, and the machine or app it is about, or nothing."""

    action: str
    identifier: str


class Limit(NamedTuple):
    """Calls per second in the long run, and how many at once."""

    rate_hz: float
    burst: int


EVERY_ACTION = Limit(1.0, 3)
GET_MACHINE = Limit(5.0, 10)
DELETE_APPS = Limit(100 / 60, 100)


def limits_of(method: str, path: str) -> Iterator[tuple[Counted, Limit]]:
    """
    Yield what a call counts as, and how many of those there may be; nothing for no call of Fly's.

    Args:
        method: Its method.
        path: Its path from the API's root, without the query.
    """
    parts = path.strip("/").split("/")
    if parts[0] != "v1":
        return
    if parts[1:2] != ["apps"] or len(parts) == 2:
        yield Counted(f"{method} {'/'.join(parts[1:])}", ""), EVERY_ACTION
        return
    kinds = ["{id}" if place % 2 else part for place, part in enumerate(parts[1:])]
    of_machine = kinds[2:4] == ["machines", "{id}"]
    counted = Counted(
        f"{method} {'/'.join(kinds)}", parts[_MACHINE_PLACE] if of_machine else parts[2]
    )
    reading = method == "GET" and of_machine and not kinds[_MACHINE_PLACE:]
    yield counted, GET_MACHINE if reading else EVERY_ACTION
    if method == "DELETE" and len(kinds) == 2:
        yield Counted(counted.action, ""), DELETE_APPS


@dataclass(slots=True)
class TokenBucket:
    """
    A token bucket that hands out waiting times instead of refusing.

    Args:
        rate_hz: Tokens per second.
        burst: Tokens that may be saved up.
    """

    rate_hz: float
    burst: int
    _free_ns: int | None = None

    def wait_ns(self, now_ns: int) -> int:
        """
        Return nanoseconds until there is a token; nothing is taken.

        Args:
            now_ns: Monotonic nanoseconds.
        """
        return max(0, self._full_ns(now_ns) + (1 - self.burst) * self._step_ns - now_ns)

    def reserve(self, now_ns: int) -> int:
        """
        Take one token.

        Args:
            now_ns: Monotonic nanoseconds.

        Returns:
            Nanoseconds to wait before using it.
        """
        wait_ns = self.wait_ns(now_ns)
        self._free_ns = self._full_ns(now_ns) + self._step_ns
        return wait_ns

    def hold(self, now_ns: int, wait_ns: int) -> None:
        """Give no token for some nanoseconds: somebody else has used them up."""
        until_ns = now_ns + wait_ns + (self.burst - 1) * self._step_ns
        self._free_ns = max(self._full_ns(now_ns), until_ns)

    @property
    def _step_ns(self) -> int:
        return round(NS_PER_S / self.rate_hz)

    def _full_ns(self, now_ns: int) -> int:
        """Return when the bucket would be full but for what was taken (GCRA's "tat")."""
        return max(now_ns, self._free_ns if self._free_ns is not None else now_ns)


@dataclass(slots=True)
class Pacer:
    """The buckets of every call that was made."""

    _buckets: dict[Counted, TokenBucket] = field(default_factory=dict)

    def wait_ns(self, method: str, path: str, now_ns: int) -> int:
        """Return nanoseconds until a call may be made; nothing is counted."""
        return max((b.wait_ns(now_ns) for b in self._of(method, path)), default=0)

    def reserve(self, method: str, path: str, now_ns: int) -> int:
        """Count a call and return nanoseconds to wait before it may be made."""
        return max((b.reserve(now_ns) for b in self._of(method, path)), default=0)

    def hold(self, method: str, path: str, now_ns: int, wait_ns: int) -> None:
        """Let no call like this one through for some nanoseconds: one was refused."""
        for bucket in self._of(method, path)[:1]:
            bucket.hold(now_ns, wait_ns)

    def _of(self, method: str, path: str) -> list[TokenBucket]:
        return [
            self._buckets.setdefault(counted, TokenBucket(*limit))
            for counted, limit in limits_of(method, path)
        ]
