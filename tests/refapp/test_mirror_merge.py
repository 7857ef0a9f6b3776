"""Writes that caches make at once: the merge rule by itself, and caches in any order of events."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.refapp.mirror.merge import Effect, Merge, Stamp, Words, later, plain
from loadtest.refapp.mirror.mirror import MirrorSettings
from loadtest.refapp.mirror.peers import Backlog
from loadtest.refapp.mirror.source import CHANNEL, Told, told_by
from loadtest.refapp.settings import SettingsError

REGIONS = ("cdg", "ord", "syd")
STAMPS = st.builds(Stamp, st.integers(0, 5), st.sampled_from(REGIONS))
WORDS = st.sampled_from([(b"SET", b"k", b"1"), (b"SET", b"k", b"2"), (b"DEL", b"k")])
EFFECTS = st.builds(Effect, STAMPS, st.just(1), WORDS)


@given(EFFECTS, EFFECTS, EFFECTS)
def test_the_later_of_two_values_is_so_in_any_order_and_grouping(
    a: Effect, b: Effect, c: Effect
) -> None:
    assert later(a, b) == later(b, a)
    assert later(a, later(b, c)) == later(later(a, b), c)
    assert later(a, a) == a


class Cache:
    """A cache, its stream, and what is on the way to it: applied when somebody lets it."""

    def __init__(self, origin: str, last_wins: bool) -> None:
        self.merge = Merge(origin, {1} if last_wins else ())
        self.values: dict[bytes, bytes] = {}
        self.stream: deque[Told] = deque()
        self.inbound: deque[Effect] = deque()
        self.applying: deque[Effect] = deque()

    def write(self, words: Words) -> None:
        self._do(words)
        self.stream.append(Told(((1, words),)))

    def step(self, others: list[Cache]) -> bool:
        """Let one thing happen that is due; tell whether there was one."""
        due = [queue for queue in (self.stream, self.inbound, self.applying) if queue]
        if not due:
            return False
        queue = random.choice(due)
        if queue is self.stream:
            told = self.stream.popleft()
            if told.applied is not None and (again := self.merge.applied(told.applied)):
                self.applying.append(again)
            for database, words in told.writes:
                for effect in self.merge.local(database, words, now_ns=7):
                    for other in others:
                        other.inbound.append(effect)
        elif queue is self.inbound:
            effect = self.inbound.popleft()
            if self.merge.remote(effect):
                self.applying.append(effect)
        else:
            effect = self.applying.popleft()
            self._do(effect.words)
            self.stream.append(Told(applied=effect))
        return True

    def _do(self, words: Words) -> None:
        name, key, *rest = words
        if name == b"SET":
            self.values[key] = rest[0]
        elif name == b"DEL":
            self.values.pop(key, None)
        else:
            self.values[key] = b"%d" % (int(self.values.get(key, 0)) + 1)


def settle(caches: list[Cache]) -> None:
    while any(cache.step([c for c in caches if c is not cache]) for cache in shuffled(caches)):
        pass


def shuffled(caches: list[Cache]) -> list[Cache]:
    return random.sample(caches, len(caches))


@given(
    st.lists(
        st.tuples(st.integers(0, 2), WORDS, st.integers(0, 6)),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_where_the_last_write_wins_all_caches_end_alike_whatever_the_order(
    writes: list[tuple[int, Words, int]], source: random.Random
) -> None:
    """Also where a cache takes a write of its own while an older one of another is on its way."""
    random.seed(source.random())
    caches = [Cache(region, last_wins=True) for region in REGIONS]
    for number, (at, words, steps) in enumerate(writes):
        value = b"%d" % number if words[0] == b"SET" else None
        caches[at].write(words if value is None else (*words[:2], value))
        for cache in [source.choice(caches) for _ in range(steps)]:
            cache.step([c for c in caches if c is not cache])
    settle(caches)
    assert caches[0].values == caches[1].values == caches[2].values


@given(st.lists(st.integers(0, 2), max_size=10))
def test_increments_add_up_in_either_mode(at: list[int]) -> None:
    for last_wins in (True, False):
        caches = [Cache(region, last_wins) for region in REGIONS]
        for number in at:
            caches[number].write((b"INCR", b"n"))
        settle(caches)
        assert {int(cache.values.get(b"n", 0)) for cache in caches} == {len(at)}


def test_as_they_arrive_simultaneous_writes_are_swapped_for_good() -> None:
    caches = [Cache(region, last_wins=False) for region in REGIONS[:2]]
    caches[0].write((b"SET", b"k", b"here"))
    caches[1].write((b"SET", b"k", b"there"))
    settle(caches)
    assert [cache.values[b"k"] for cache in caches] == [b"there", b"here"]


def test_a_write_after_a_seen_one_is_later_whatever_the_clock_says() -> None:
    merge = Merge("cdg", {1})
    assert merge.remote(Effect(Stamp(1_000, "syd"), 1, (b"SET", b"k", b"ahead")))
    (own,) = merge.local(1, (b"SET", b"k", b"mine"), now_ns=10)
    assert own.stamp.time_ns > 1_000


def test_the_key_longest_unwritten_is_forgotten() -> None:
    merge = Merge("cdg", {1}, most_keys=2)
    for key in (b"a", b"b", b"c"):
        merge.local(1, (b"SET", key, b"1"), now_ns=100)
    old = [Effect(Stamp(1, "syd"), 1, (b"SET", key, b"0")) for key in (b"a", b"c")]
    assert [merge.remote(effect) for effect in old] == [True, False]
    assert merge.dropped == 1


def test_commands_have_one_key_each_and_one_spelling() -> None:
    assert plain([b"unlink", b"a", b"b"]) == [(b"DEL", b"a"), (b"DEL", b"b")]
    assert plain([b"MSET", b"a", b"1", b"b", b"2"]) == [(b"SET", b"a", b"1"), (b"SET", b"b", b"2")]
    assert plain([b"SET", b"a", b"1", b"NX", b"PXAT", b"9"]) == [
        (b"SET", b"a", b"1", b"PXAT", b"9")
    ]
    assert plain([b"set", b"a", b"1", b"KEEPTTL"]) == [(b"SET", b"a", b"1", b"KEEPTTL")]
    assert plain([b"incr", b"n"]) == [(b"INCR", b"n")]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=6))
def test_any_command_is_taken_apart(words: list[bytes]) -> None:
    assert all(single and single[0] for single in plain(words)) or not words[0]


def test_a_marked_transaction_is_a_write_of_another_cache() -> None:
    write, mark = (1, (b"SET", b"k", b"1")), (0, (b"PUBLISH", CHANNEL, b"12 syd"))
    assert told_by([write, mark]) == Told(applied=Effect(Stamp(12, "syd"), 1, write[1]))
    assert told_by([(1, (b"DEL", b"k")), write, mark]) == told_by([write, mark])
    assert told_by([mark]) is None
    assert told_by([]) is None
    assert told_by([write, write]) == Told((write, write))


def test_what_waits_is_sent_on_until_it_is_acknowledged_and_the_oldest_makes_room() -> None:
    backlog = Backlog(3)
    effects = [Effect(Stamp(n, "cdg"), 0, (b"INCR", b"n")) for n in range(5)]
    for effect in effects:
        backlog.put(effect)
    assert backlog.lost == 2
    assert [number for number, _ in backlog.after(0)] == [3, 4, 5]
    assert [effect for _, effect in backlog.after(4)] == effects[4:]
    backlog.acknowledge(4)
    assert [number for number, _ in backlog.after(0)] == [5]
    assert not backlog.after(5)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"CACHE_URL": ""}, "CACHE_URL"),
        ({"FLY_REGION": ""}, "FLY_REGION"),
        ({"MIRROR_PEERS": "syd=nowhere"}, "MIRROR_PEERS"),
        ({"MIRROR_PEERS": "syd"}, "MIRROR_PEERS"),
        ({"MIRROR_LWW": "all"}, "MIRROR_LWW"),
        ({"MIRROR_BACKLOG": "0"}, "MIRROR_BACKLOG"),
    ],
)
def test_a_mirror_names_the_variable_that_is_wrong(changed: dict[str, str], named: str) -> None:
    good = {
        "CACHE_URL": "redis://cache:6379",
        "FLY_REGION": "cdg",
        "MIRROR_PEERS": "cdg=here:7400, syd=[fdaa::2]:7400",
        "MIRROR_LWW": "1,2",
    }
    settings = MirrorSettings.from_environ(good)
    assert dict(settings.peers) == {"syd": ("fdaa::2", 7400)}
    assert settings.last_wins == {1, 2}
    with pytest.raises(SettingsError, match=named):
        MirrorSettings.from_environ({**good, **changed})
