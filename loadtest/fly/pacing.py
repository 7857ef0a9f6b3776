"""Keeps a client below Fly's rate limits: 1 request/s (burst 3) per action, 5/s (10) for Get."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.units import NS_PER_S


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

    @property
    def _step_ns(self) -> int:
        return round(NS_PER_S / self.rate_hz)

    def _full_ns(self, now_ns: int) -> int:
        """Return when the bucket would be full but for what was taken (GCRA's "tat")."""
        return max(now_ns, self._free_ns if self._free_ns is not None else now_ns)


@dataclass(slots=True)
class Pacer:
    """One bucket per action and identifier, as Fly counts (Machines API, "Rate limits")."""

    _buckets: dict[tuple[str, str], TokenBucket] = field(default_factory=dict)

    def reserve(self, action: str, identifier: str, now_ns: int) -> int:
        """Return nanoseconds to wait before ``action`` may be sent for an app or machine."""
        return self.bucket(action, identifier).reserve(now_ns)

    def bucket(self, action: str, identifier: str) -> TokenBucket:
        """Return what counts an action; ``get`` is that of one machine, which has more."""
        bucket = self._buckets.get((action, identifier))
        if bucket is None:
            bucket = TokenBucket(5.0, 10) if action == "get" else TokenBucket(1.0, 3)
            self._buckets[action, identifier] = bucket
        return bucket
