"""
What can go wrong in a world: one grammar for plans, the command line and the world itself.

    cut cdg-syd              nothing arrives, either way      cut cdg>syd   one way only
    freeze syd               nothing moves in, out or within
    loss 1% cdg-syd          segments that are lost           reorder 5% by 10ms cdg-syd
    jitter 5ms gamma cdg-syd mean of an extra delay           delay 20ms cdg>syd
    bandwidth 10mbit queue 64kB cdg-syd
    kill APP/REGION          restart APP/REGION               heal cdg-syd

A path is a pair ``a-b``, one direction of it ``a>b``, each pair of a region ``a-*``, or all, ``*``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from loadtest.errors import PlanError
from loadtest.units import NS_PER_MS, NS_PER_S, NS_PER_US

Jitter = Literal["gamma", "uniform", "pareto"]
Road = tuple[str, str]
"""One direction: region that sends, region that receives."""

ALL: Final = "*"
DATABASE: Final = "database"
"""Stands for the database in the fault of a machine, whatever its app is called."""

VERBS: Final = (
    *("cut", "freeze", "loss", "reorder", "jitter", "delay", "bandwidth"),
    *("heal", "kill", "restart"),
)
JITTERS: Final[tuple[Jitter, ...]] = ("gamma", "uniform", "pareto")

_REORDERED_NS: Final = 5 * NS_PER_MS
_LONGEST_NS: Final = 60 * NS_PER_S
_PATH = re.compile(r"\*|([a-z]{3}|\*)([->])([a-z]{3}|\*)")
_MACHINE = re.compile(r"([a-z0-9][a-z0-9-]{0,62})(?:/([a-z]{3}))?")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kmg])bit")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(b|kb|mb)")
_NS: Final = {"us": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S}
_BITS: Final = {"k": 1e3, "m": 1e6, "g": 1e9}
_BYTES: Final = {"b": 1, "kb": 1_000, "mb": 1_000_000}
_MACHINE_VERBS: Final = ("kill", "restart")


@dataclass(frozen=True, slots=True)
class RoadCondition:
    """
    What one direction of a pair does to what is sent over it.

    Args:
        cut: Nothing arrives.
        loss: Share of segments that are lost, 0 to 1.
        reorder: Share of segments that arrive late, behind others.
        reorder_ns: By how much.
        jitter_ns: Mean of an extra delay that is drawn anew for every piece sent.
        jitter: Its distribution.
        delay_ns: Extra delay that is always there.
        bits_per_s: What the direction carries; 0 sets no limit.
        queue_bytes: What may wait before that bottleneck; 0 means what it carries in one round
            trip, ten segments at least.
    """

    cut: bool = False
    loss: float = 0.0
    reorder: float = 0.0
    reorder_ns: int = _REORDERED_NS
    jitter_ns: int = 0
    jitter: Jitter = "gamma"
    delay_ns: int = 0
    bits_per_s: float = 0.0
    queue_bytes: int = 0

    def with_other(self, other: RoadCondition) -> RoadCondition:
        """Return both at once: losses are independent, delays add up, the narrower one counts."""
        narrow = min((self, other), key=lambda c: c.bits_per_s or math.inf)
        jittery = self if self.jitter_ns >= other.jitter_ns else other
        return RoadCondition(
            cut=self.cut or other.cut,
            loss=1 - (1 - self.loss) * (1 - other.loss),
            reorder=1 - (1 - self.reorder) * (1 - other.reorder),
            reorder_ns=max(
                (c.reorder_ns for c in (self, other) if c.reorder), default=_REORDERED_NS
            ),
            jitter_ns=self.jitter_ns + other.jitter_ns,
            jitter=jittery.jitter,
            delay_ns=self.delay_ns + other.delay_ns,
            bits_per_s=narrow.bits_per_s,
            queue_bytes=narrow.queue_bytes,
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault.

    Args:
        what: The words that ask for it, in one spelling.
        verb: What happens.
        path: For links: ``a-b``, ``a>b``, ``a-*``, ``*``; for ``freeze`` the region.
        condition: For links: what it does to each direction.
        app: For machines: their app, or ``database``.
        region: For machines: where they stand; empty for all, of a database its primary.
    """

    what: str
    verb: str
    path: str = ""
    condition: RoadCondition = RoadCondition()
    app: str = ""
    region: str = ""

    @property
    def of_machines(self) -> bool:
        """Tell whether it ends machines, and bends no link."""
        return self.verb in _MACHINE_VERBS

    @property
    def regions(self) -> tuple[str, ...]:
        """Return the regions that it names."""
        named = re.findall(r"[a-z]{3}", self.path) if self.path else [self.region]
        return tuple(name for name in named if name)

    def roads(self, regions: Iterable[str]) -> tuple[Road, ...]:
        """Return the directions that it bends, among all of a world's regions."""
        codes = list(regions)
        if self.verb == "freeze":
            return tuple((a, b) for a in codes for b in codes if self.path in (a, b))
        if self.path == ALL:
            return tuple((a, b) for a in codes for b in codes if a != b)
        match = _PATH.fullmatch(self.path)
        one, sign, two = match.groups() if match else ("", ">", "")
        there = [(a, b) for a in codes for b in codes if _fits(a, one) and _fits(b, two)]
        back = [(b, a) for a, b in there] if sign == "-" else []
        alone = one == two and one != ALL  # a region with itself, when it is named so
        return tuple(dict.fromkeys(r for r in (*there, *back) if alone or r[0] != r[1]))

    def of_app(self, app: str) -> Fault:
        """Return the same fault for the app of another name."""
        return replace(self, app=app, what=self.what.replace(f" {self.app}", f" {app}", 1))


def parse_fault(text: str, key: str = "fault") -> Fault:
    """
    Read the words of a fault.

    Args:
        text: The words.
        key: What they were given as, for a message.

    Raises:
        PlanError: They are none; says what is allowed.
    """
    words = text.strip().lower().split()
    what = " ".join(words)
    if not words or words[0] not in VERBS:
        raise PlanError(
            f"{key}: {text[:80]!r} begins with none of {', '.join(VERBS)}; "
            "write 'cut cdg-syd' or 'loss 1% cdg-syd'"
        )
    verb, rest = words[0], words[1:]
    where = f"{key}: {what[:80]!r}"
    if verb in _MACHINE_VERBS:
        return _machine_fault(what, verb, rest, where)
    if not rest:
        raise PlanError(f"{where} names no link; end it with one, as cdg-syd, cdg>syd, cdg-* or *")
    path = rest[-1]
    if verb == "freeze":
        if len(rest) != 1 or not re.fullmatch(r"[a-z]{3}", path):
            raise PlanError(f"{where}: freeze takes one region, as 'freeze syd'")
        return Fault(what, verb, path, RoadCondition(cut=True))
    if not _PATH.fullmatch(path):
        raise PlanError(f"{where}: {path!r} is no link; write cdg-syd, cdg>syd, cdg-* or *")
    return Fault(what, verb, path, _condition(verb, rest[:-1], where))


def check_regions(fault: Fault, regions: Sequence[str], key: str) -> None:
    """
    Refuse a fault that names a region which is not there.

    Raises:
        PlanError: It does; names the regions that are.
    """
    for region in fault.regions:
        if region not in regions:
            raise PlanError(
                f"{key}: {fault.what!r}: there is no region {region!r}; "
                f"allowed: {', '.join(regions)}"
            )


def _fits(region: str, wanted: str) -> bool:
    return wanted in (ALL, region)


def _machine_fault(what: str, verb: str, rest: list[str], where: str) -> Fault:
    match = _MACHINE.fullmatch(rest[0]) if len(rest) == 1 else None
    if match is None or (verb == "kill" and not match[2]):
        raise PlanError(f"{where}: {verb} takes one machine, as '{verb} replica/syd'")
    return Fault(what, verb, app=match[1], region=match[2] or "")


def _condition(verb: str, words: list[str], where: str) -> RoadCondition:
    """Return what the words between verb and path say."""
    found: RoadCondition | None = None
    match verb, words:
        case "cut" | "heal", []:
            found = RoadCondition(cut=verb == "cut")
        case "loss", [share]:
            found = RoadCondition(loss=_share(share, where))
        case "reorder", [share]:
            found = RoadCondition(reorder=_share(share, where))
        case "reorder", [share, "by", time]:
            found = RoadCondition(reorder=_share(share, where), reorder_ns=_time(time, where))
        case "jitter", [time]:
            found = RoadCondition(jitter_ns=_time(time, where))
        case "jitter", [time, ("gamma" | "uniform" | "pareto") as kind]:
            found = RoadCondition(jitter_ns=_time(time, where), jitter=kind)
        case "delay", [time]:
            found = RoadCondition(delay_ns=_time(time, where))
        case "bandwidth", [rate]:
            found = RoadCondition(bits_per_s=_rate(rate, where))
        case "bandwidth", [rate, "queue", size]:
            found = RoadCondition(bits_per_s=_rate(rate, where), queue_bytes=_size(size, where))
    if found is None:
        raise PlanError(f"{where}: {_FORMS[verb]}")
    return found


_FORMS: Final = {
    "cut": "write 'cut cdg-syd'",
    "heal": "write 'heal cdg-syd', or 'heal *' for all",
    "loss": "write 'loss 1% cdg-syd'",
    "reorder": "write 'reorder 5% cdg-syd' or 'reorder 5% by 10ms cdg-syd'",
    "jitter": f"write 'jitter 5ms cdg-syd', or name one of {', '.join(JITTERS)} behind the time",
    "delay": "write 'delay 20ms cdg>syd'",
    "bandwidth": "write 'bandwidth 10mbit cdg-syd' or 'bandwidth 10mbit queue 64kB cdg-syd'",
}


def _share(word: str, where: str) -> float:
    match = _SHARE.fullmatch(word)
    if match is None or not 0 < float(match[1]) <= 90:
        raise PlanError(f"{where}: {word!r} is no share; write more than 0% and at most 90%")
    return float(match[1]) / 100


def _time(word: str, where: str) -> int:
    match = _TIME.fullmatch(word)
    time_ns = round(float(match[1]) * _NS[match[2]]) if match else 0
    if not 0 < time_ns <= _LONGEST_NS:
        raise PlanError(f"{where}: {word!r} is no time; write 500us, 5ms or 1s, at most 60s")
    return time_ns


def _rate(word: str, where: str) -> float:
    match = _RATE.fullmatch(word)
    rate = float(match[1]) * _BITS[match[2]] if match else 0.0
    if not 1e4 <= rate <= 1e12:
        raise PlanError(f"{where}: {word!r} is no rate; write 10kbit to 1000gbit a second")
    return rate


def _size(word: str, where: str) -> int:
    match = _SIZE.fullmatch(word)
    size = round(float(match[1]) * _BYTES[match[2]]) if match else 0
    if not 1_500 <= size <= 1_000_000_000:
        raise PlanError(f"{where}: {word!r} is no length of a queue; write 1.5kB to 1000MB")
    return size
