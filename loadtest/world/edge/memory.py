"""What an edge remembers of replays: the next request goes where the last one was sent on to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.fly.port_options import ReplayCache
from loadtest.fly.replay import Replay, Transform
from loadtest.fly.replay_cache import Keep
from loadtest.world.edge.http import RequestHead, find

MOST: Final = 10_000
"""Replays that an edge remembers of one app; the oldest makes way."""

_Key = tuple[str, str, str, str]
"""Host, prefix of the path, and what tells a session (``cookie name``) with its value."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """
    A replay that is remembered.

    Args:
        key: What it is found by.
        replay: What the app asked for.
        until_s: When it is forgotten.
        allow_bypass: A request may ask not to be served by it.
    """

    key: _Key
    replay: Replay
    until_s: float
    allow_bypass: bool


class ReplayMemory:
    """The replays of one app at one edge."""

    def __init__(self) -> None:
        self._kept: dict[_Key, Remembered] = {}

    def recall(
        self, head: RequestHead, sessions: Sequence[ReplayCache], now_s: float
    ) -> Remembered | None:
        """
        Return what is remembered for a request, that of the longest path; None for nothing.

        Args:
            head: The request.
            sessions: What fly.toml wants to be remembered by.
            now_s: Seconds of the same clock as for `keep`.
        """
        if not self._kept:
            return None
        best: Remembered | None = None
        for key in _keys(head, sessions, self._kept):
            found = self._kept[key]
            if found.until_s <= now_s:
                del self._kept[key]
            elif best is None or len(key[1]) > len(best.key[1]):
                best = found
        return best

    def keep(
        self,
        head: RequestHead,
        replay: Replay,
        keep: Keep | None,
        sessions: Sequence[ReplayCache],
        now_s: float,
    ) -> bool:
        """
        Remember a replay, if it is of a kind that can be; tell whether it is.

        Args:
            head: The request that was replayed.
            replay: What the app asked for.
            keep: What it asked to be remembered of that.
            sessions: What fly.toml wants to be remembered by.
            now_s: Seconds.
        """
        if replay.state or replay.timeout_s or replay.fallback or replay.transform != Transform():
            return False
        host, path = _place(head)
        found: list[tuple[_Key, int, bool]] = []
        if keep is not None and path.startswith(keep.prefix) and keep.domain in ("", host):
            found.append(((host, keep.prefix, "", ""), keep.ttl_s, keep.allow_bypass))
        for rule in sessions:
            if (value := _session(head, rule)) and path.startswith(rule.path_prefix):
                key = (host, rule.path_prefix, _name(rule), value)
                found.append((key, rule.ttl_s, rule.allow_bypass))
        for key, ttl_s, bypass in found:
            self._kept.pop(key, None)  # the newest is last
            self._kept[key] = Remembered(key, replay, now_s + ttl_s, bypass)
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
        return bool(found)

    def forget(self, remembered: Remembered) -> None:
        """Remember something no more."""
        self._kept.pop(remembered.key, None)


def _keys(
    head: RequestHead, sessions: Sequence[ReplayCache], kept: dict[_Key, Remembered]
) -> Iterator[_Key]:
    """Yield the keys of what is remembered that a request answers to."""
    host, path = _place(head)
    sought: list[_Key] = [(host, path[:n], "", "") for n in range(1, len(path) + 1)]
    for rule in sessions:
        if (value := _session(head, rule)) and path.startswith(rule.path_prefix):
            sought.append((host, rule.path_prefix, _name(rule), value))
    yield from [key for key in sought if key in kept]


def _place(head: RequestHead) -> tuple[str, str]:
    """Return host, without a port, and path of a request."""
    host = (find(head.headers, b"host") or b"").decode("latin-1").lower()
    name, _, port = host.rpartition(":")
    path = head.target.partition(b"?")[0].decode("latin-1")
    return (name if name and port.isdecimal() else host), path


def _session(head: RequestHead, rule: ReplayCache) -> str:
    """Return the value of the cookie or header that tells a session; empty without one."""
    if rule.type == "header":
        return (find(head.headers, rule.name.lower().encode()) or b"").decode("latin-1")
    for name, value in head.headers:
        if name.lower() == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.partition("=")
                if key.strip() == rule.name:
                    return text.strip()
    return ""


def _name(rule: ReplayCache) -> str:
    return f"{rule.type} {rule.name}"
