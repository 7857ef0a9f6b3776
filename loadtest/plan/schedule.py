"""
The schedule: which arm is asked when, from one region, as a pure function of plan and seed.

Open model: arrivals are due whatever the target does.  The time line of a segment is cut into
blocks of ``load.block_s``; within a block every arm gets the same number of arrivals, in random
order, so that the arms of one region see the same weather.  Fractions of an arrival are carried
from block to block, hence totals are exact.

Only ``random.Random.random`` is drawn from: the one method whose sequence Python promises to keep
for a seed, so that a schedule is the same on every platform and version.

Source: Schroeder, Wierman, Harchol-Balter, "Open Versus Closed: A Cautionary Tale", NSDI 2006.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import compress, cycle, islice, permutations
from random import Random

from loadtest.plan.model import Load, Plan
from loadtest.plan.profile import LoadProfile
from loadtest.units import NS_PER_S

WARM_UP = "warm-up"
"""Stage before the measurement proper; the words are those of the records."""
STEADY = "steady"

SEGMENT_STRIDE = 1 << 40
"""Arrivals of segment s count from s times this, so that they are unique within a run."""

_NO_PART_OF_IT = {"timeout_s", "fit_rate", "asked_rate"}
"""Keys of the load that move no arrival."""

_CHUNK_SLOTS = 384  # about 0.1 ms of work: a player never stalls longer for its next chunk
_POISSON_MEAN = 16.0  # arrivals per arm in a slice; small enough for Knuth's product method
_MAX_LISTED_ARMS = 5  # up to 120 orders are listed once and drawn from; more arms are shuffled


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    A few hundred arrivals of one block, in order of time.

    ``due_ns`` counts from the start of the segment, ``arms`` holds indices into the region's arms,
    ``cold`` is 1 where the arrival opens a connection of its own, ``arrivals`` are indices in the
    whole schedule of the region.
    """

    stage: str
    block: int
    arrivals: Sequence[int]
    due_ns: array[int]
    arms: bytes
    cold: bytes

    def __len__(self) -> int:
        return len(self.due_ns)


@dataclass(frozen=True, slots=True)
class Digest:
    """A whole segment's schedule in short: its hash, its size, arrivals of each arm by region."""

    fingerprint: str
    arrivals: int
    per_arm: dict[str, int]


class RegionSchedule:
    """
    The arrivals of one client region in one segment.

    Args:
        plan: Resolved plan; load, seed and arms are read.
        region: Client region.
        segment: 0 for the first; only segment 0 has a warm-up.
        first_block: Number of the first block of this segment.
    """

    def __init__(self, plan: Plan, region: str, segment: int = 0, first_block: int = 0) -> None:
        self.load: Load = plan.load
        self.arms: tuple[str, ...] = plan.arms_in(region)
        self.region = region
        self.first_block = first_block
        self.first_arrival = segment * SEGMENT_STRIDE
        self._seed = plan.seed
        self._warmup_s = Fraction(str(self.load.warmup_s)) if segment == 0 else Fraction(0)
        self._steady = LoadProfile.of(self.load)
        self._warm_up = LoadProfile.constant(self._steady.opening_rate, self._warmup_s)
        self._block_s = Fraction(str(self.load.block_s))
        self._block_ns = int(self._block_s * NS_PER_S)
        self._warmup_ns = int(self._warmup_s * NS_PER_S)
        self._warm_blocks = self._count(self._warm_up)
        self._last_steady_block = self._count(self._steady) - 1
        self._phase = self._rng("phase").random()
        self._orders = _orders(len(self.arms))

    @property
    def warmup_ns(self) -> int:
        """Nanoseconds from the segment's start to the start of its steady stage."""
        return self._warmup_ns

    @property
    def total_ns(self) -> int:
        """Nanoseconds from the segment's start to the end of its schedule."""
        return int((self._warmup_s + self._steady.duration_s) * NS_PER_S)

    @property
    def blocks(self) -> int:
        """Number of blocks of this segment, warm-up included."""
        return self._warm_blocks + self._last_steady_block + 1

    def block_at(self, elapsed_ns: int) -> int:
        """Return the block that a moment of the segment belongs to."""
        # runs for every request of the closed model, hence whole numbers, counted beforehand
        if elapsed_ns < self._warmup_ns:
            return self.first_block + elapsed_ns // self._block_ns
        steady_block = (elapsed_ns - self._warmup_ns) // self._block_ns
        return self.first_block + self._warm_blocks + min(steady_block, self._last_steady_block)

    def chunks(self, worker: int = 0, workers: int = 1) -> Iterator[Chunk]:
        """
        Yield the arrivals of one of ``workers`` equal shares, in order of time.

        The n-th arrival of arm a belongs to worker (n + a) mod ``workers``: the shares add up to
        exactly the whole, and each is balanced over the arms to within one arrival.

        Args:
            worker: This worker's index, 0 <= worker < workers.
            workers: Number of workers of the region.

        Raises:
            ValueError: ``worker`` is out of range.
        """
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} of {workers}: allowed is 0 to {workers - 1}")
        if self.load.model == "closed" or not self.arms:
            return
        index, done, block = self.first_arrival, 0, self.first_block
        for profile, stage, offset_ns in (
            (self._warm_up, WARM_UP, 0),
            (self._steady, STEADY, self.warmup_ns),
        ):
            in_stage = 0
            for start_s, end_s in self._edges(profile):
                for due, arms, cold in self._block(profile, block, start_s, end_s, in_stage):
                    rounds = len(due) // len(self.arms)
                    due_ns = array("q", [offset_ns + t for t in due])
                    whole = Chunk(stage, block, range(index, index + len(due)), due_ns, arms, cold)
                    index += len(due)
                    yield whole if workers == 1 else self._share(whole, done, worker, workers)
                    done += rounds
                    in_stage += rounds
                block += 1

    def share_of(self, per_arm: int, worker: int, workers: int) -> int:
        """Return how many of ``per_arm`` arrivals of every arm fall to a worker."""
        return sum(
            len(range((worker - arm) % workers, per_arm, workers)) for arm in range(len(self.arms))
        )

    def _share(self, whole: Chunk, done: int, worker: int, workers: int) -> Chunk:
        owners = [
            islice(cycle(range(workers)), (done + arm) % workers, None)
            for arm in range(len(self.arms))
        ]
        mine = [next(owners[arm]) == worker for arm in whole.arms]
        return Chunk(
            whole.stage,
            whole.block,
            array("q", compress(whole.arrivals, mine)),
            array("q", compress(whole.due_ns, mine)),
            bytes(compress(whole.arms, mine)),
            bytes(compress(whole.cold, mine)),
        )

    def _block(
        self, profile: LoadProfile, block: int, start_s: Fraction, end_s: Fraction, in_stage: int
    ) -> Iterator[tuple[list[int], bytes, bytes]]:
        """Yield slices of one block: due times from the stage's start, arms, cold marks."""
        rng = self._rng(f"block {block}")
        slices = (
            self._constant(profile, rng, start_s, end_s)
            if self.load.arrivals == "constant"
            else self._poisson(profile, rng, start_s, end_s)
        )
        for due, arms in slices:
            rounds = len(due) // len(self.arms)
            yield due, arms, self._cold(rng, arms, in_stage, rounds)
            in_stage += rounds

    def _constant(
        self, profile: LoadProfile, rng: Random, start_s: Fraction, end_s: Fraction
    ) -> Iterator[tuple[list[int], bytes]]:
        """Evenly spaced arrivals; every run of len(arms) of them holds each arm once."""
        low, high = profile.cumulative(start_s), profile.cumulative(end_s)
        rounds = math.floor(high) - math.floor(low)
        if rounds == 0:
            return
        width = len(self.arms)
        step = float(high - low) / (rounds * width)
        moment = profile.inverse(start_s, end_s)
        per_chunk = max(1, _CHUNK_SLOTS // width)
        for first in range(0, rounds, per_chunk):
            count = min(per_chunk, rounds - first)
            slots = range(first * width, (first + count) * width)
            yield moment([(slot + self._phase) * step for slot in slots]), self._deal(rng, count)

    def _poisson(
        self, profile: LoadProfile, rng: Random, start_s: Fraction, end_s: Fraction
    ) -> Iterator[tuple[list[int], bytes]]:
        """
        Poisson arrivals: each arm alone is a Poisson process of the cell's rate.

        The count of a slice is drawn once and shared by the arms, which keeps them balanced; given
        the count, arrival times are uniform and arms shuffled over all of them.
        """
        expected = float(profile.cumulative(end_s) - profile.cumulative(start_s))
        if expected <= 0:
            return
        slices = math.ceil(expected / _POISSON_MEAN)
        mean = expected / slices
        moment = profile.inverse(start_s, end_s)
        for number in range(slices):
            count = _poisson_count(rng, mean)
            if count == 0:
                continue
            draw = rng.random
            size = count * len(self.arms)
            positions = sorted([(number + draw()) * mean for _ in range(size)])
            yield moment(positions), _shuffled(bytes(range(len(self.arms))) * count, rng)

    def _deal(self, rng: Random, rounds: int) -> bytes:
        draw = rng.random
        orders = self._orders
        if not orders:
            deck = bytes(range(len(self.arms)))
            return b"".join([_shuffled(deck, rng) for _ in range(rounds)])
        size = len(orders)
        return b"".join([orders[int(draw() * size)] for _ in range(rounds)])

    def _cold(self, rng: Random, arms: bytes, in_stage: int, rounds: int) -> bytes:
        """Mark the same number of arrivals of every arm; fractions carry over the whole stage."""
        share = Fraction(str(self.load.new_connections))
        marks = math.floor(share * (in_stage + rounds)) - math.floor(share * in_stage)
        if marks == 0:
            return bytes(len(arms))
        deck = b"\x01" * marks + bytes(rounds - marks)
        decks = [iter(_shuffled(deck, rng)) for _ in self.arms]
        return bytes([next(decks[arm]) for arm in arms])

    def _edges(self, profile: LoadProfile) -> Iterator[tuple[Fraction, Fraction]]:
        for number in range(self._count(profile)):
            start = number * self._block_s
            yield start, min(start + self._block_s, profile.duration_s)

    def _count(self, profile: LoadProfile) -> int:
        return math.ceil(profile.duration_s / self._block_s)

    def _rng(self, purpose: str) -> Random:
        text = f"{self._seed} {self.region} {purpose}".encode()
        return Random(int.from_bytes(sha256(text).digest()[:8], "big"))


def digest_schedules(
    schedules: Sequence[RegionSchedule],
    pause: Callable[[], None] = lambda: None,
    see: Callable[[str, Chunk], None] = lambda _region, _chunk: None,
) -> Digest:
    """
    Hash the whole schedule of a segment.

    Args:
        schedules: One for each client region, in plan order.
        pause: Called between chunks, so that an event loop can do other work meanwhile.
        see: Shown every chunk and its region, in order.

    Returns:
        The hash covers regions, arms, stages, blocks, due times, arms' order and cold marks.
    """
    total, arrivals = sha256(), 0
    per_arm: dict[str, int] = {}
    for schedule in schedules:
        load = schedule.load.model_dump_json(exclude=_NO_PART_OF_IT)
        total.update(f"{schedule.region} {schedule.arms} {load}\n".encode())
        first = arrivals
        for chunk in schedule.chunks():
            due = array("q", chunk.due_ns)
            if sys.byteorder == "big":
                due.byteswap()
            total.update(f"{chunk.stage} {chunk.block}\n".encode())
            total.update(due.tobytes())
            total.update(chunk.arms)
            total.update(chunk.cold)
            arrivals += len(chunk)
            see(schedule.region, chunk)
            pause()
        per_arm[schedule.region] = (arrivals - first) // max(1, len(schedule.arms))
    return Digest(total.hexdigest(), arrivals, per_arm)


def joined_fingerprint(digests: Sequence[Digest]) -> str:
    """Return one hash over the schedules of all segments; of a single one, its own."""
    hashes = [digest.fingerprint for digest in digests]
    if len(hashes) == 1:
        return hashes[0]
    return sha256(" ".join(hashes).encode()).hexdigest() if hashes else ""


def _orders(arms: int) -> list[bytes]:
    return [bytes(p) for p in permutations(range(arms))] if arms <= _MAX_LISTED_ARMS else []


def _shuffled(deck: bytes, rng: Random) -> bytes:
    """Shuffle (Fisher and Yates); ``Random.shuffle`` may change between Python versions."""
    cards = bytearray(deck)
    draw = rng.random
    for last in range(len(cards) - 1, 0, -1):
        other = int(draw() * (last + 1))
        cards[last], cards[other] = cards[other], cards[last]
    return bytes(cards)


def _poisson_count(rng: Random, mean: float) -> int:
    """Draw a Poisson count (Knuth, TAOCP vol. 2, 3.4.1, algorithm Q); mean at most about 500."""
    limit = math.exp(-mean)
    count, product = 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count
