"""The grammar of fly-replay, both ways."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.fly.replay import (
    Replay,
    ReplayError,
    ReplaySource,
    Transform,
    format_replay,
    format_replay_failure,
    format_replay_source,
    parse_region_list,
    parse_replay,
    parse_replay_json,
    parse_replay_source,
    region_matches,
)

CODES = st.sampled_from(["cdg", "ord", "syd", "scl", "us", "eu", "apac"])
NAMES = st.text("abcdef0123456789-", min_size=1, max_size=20)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
REPLAYS = st.builds(
    Replay,
    regions=st.lists(CODES, max_size=4, unique=True).map(tuple),
    anywhere=st.booleans(),
    instance=st.none() | NAMES,
    prefer_instance=st.none() | NAMES,
    app=st.none() | NAMES,
    state=st.none() | TEXTS,
    elsewhere=st.booleans(),
    timeout_s=st.none() | st.integers(1, 90_000).map(lambda ms: ms / 1000),
    fallback=st.sampled_from([None, "force_self", "prefer_self"]),
)


@settings(max_examples=60, deadline=None)
@given(REPLAYS)
def test_what_is_formatted_is_read_back(replay: Replay) -> None:
    if replay == Replay():
        return
    assert parse_replay(format_replay(replay)) == replay


@settings(max_examples=40, deadline=None)
@given(st.builds(ReplaySource, NAMES, CODES, st.integers(0, 1 << 60), st.none() | TEXTS))
def test_the_source_is_read_back(source: ReplaySource) -> None:
    assert parse_replay_source(format_replay_source(source)) == source


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60) | TEXTS)
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    with contextlib.suppress(ReplayError):
        assert parse_replay(text) != Replay() or "=" in text


@pytest.mark.parametrize(
    ("header", "replay"),
    [
        pytest.param("region=cdg", Replay(regions=("cdg",)), id="one region"),
        pytest.param("Region = CDG ", Replay(regions=("cdg",)), id="spaces and case"),
        pytest.param(
            "region=cdg; state=captured_write",
            Replay(regions=("cdg",), state="captured_write"),
            id="space after the semicolon",
        ),
        pytest.param(
            'region="iad,ord,any"', Replay(regions=("iad", "ord"), anywhere=True), id="open list"
        ),
        pytest.param("region=any", Replay(anywhere=True), id="anywhere"),
        pytest.param("state=a=b", Replay(state="a=b"), id="equals sign in a value"),
        pytest.param('state="a;b"', Replay(state="a;b"), id="semicolon in quotes"),
        pytest.param("elsewhere=true;", Replay(elsewhere=True), id="semicolon at the end"),
        pytest.param("app=x;later=1", Replay(app="x"), id="key of a later version"),
        pytest.param(
            "instance=1;timeout=800ms;fallback=force_self",
            Replay(instance="1", timeout_s=0.8, fallback="force_self"),
            id="timeout and fallback",
        ),
        pytest.param(
            "region=us;timeout=10s", Replay(regions=("us",), timeout_s=10), id="alias, seconds"
        ),
    ],
)
def test_header(header: str, replay: Replay) -> None:
    assert parse_replay(header) == replay


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("", "empty"),
        ("elsewhere", "key=value"),
        ("region=cdg,ord", "quoted"),
        ("region=", "region"),
        ("region=cdg;region=ord", "twice"),
        ("elsewhere=yes", "true or false"),
        ("timeout=5", "10s"),
        ("timeout=-1s", "10s"),
        ("fallback=self", "force_self"),
        ("instance=", "name"),
        ('state="open', "key=value"),
    ],
)
def test_a_bad_header_is_refused_with_what_is_allowed(header: str, word: str) -> None:
    with pytest.raises(ReplayError, match=word):
        parse_replay(header)


def test_the_json_form_reads_the_same_keys_and_a_transform() -> None:
    body = {
        "region": "iad,any",
        "elsewhere": True,
        "state": "s",
        "transform": {
            "path": "/new?x=1",
            "delete_headers": ["cookie"],
            "set_headers": [{"name": "x-a", "value": "b"}],
        },
    }
    assert parse_replay_json(json.dumps(body).encode()) == Replay(
        regions=("iad",),
        anywhere=True,
        elsewhere=True,
        state="s",
        transform=Transform("/new?x=1", ("cookie",), (("x-a", "b"),)),
    )


def test_null_in_the_json_form_names_nothing() -> None:
    body = {"app": "x", "instance": None, "transform": {"delete_headers": None, "path": None}}
    assert parse_replay_json(json.dumps(body).encode()) == Replay(app="x")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"region": 3}',
        b'{"state": "a\\r\\nfly-x: 1"}',
        b'{"transform": []  , "transform": 3}',
        b'{"transform": {"path": "no-slash"}}',
        b'{"transform": {"path": "/a b"}}',
        b'{"transform": {"set_headers": [{"name": "a", "value": "x\\r\\ny: 1"}]}}',
        b'{"transform": {"set_headers": [{"name": "a:b", "value": "x"}]}}',
        b'{"transform": {"set_headers": ["a"]}}',
        b'{"transform": {"delete_headers": "cookie"}}',
        b'{"transform": {"set_headers": {}}}',
    ],
)
def test_a_bad_json_form_is_refused(body: bytes) -> None:
    with pytest.raises(ReplayError):
        parse_replay_json(body)


@pytest.mark.parametrize("header", ["", "instance=1;region=cdg", "instance=1;region=cdg;t=x", "x"])
def test_a_bad_source_is_refused(header: str) -> None:
    with pytest.raises(ReplayError):
        parse_replay_source(header)


def test_a_failure_tells_target_source_and_reason() -> None:
    source = ReplaySource("m1", "syd", 5)
    target = Replay(regions=("cdg",), instance="m2", app="db")
    assert (
        format_replay_failure(source, target, "timeout", 12)
        == "instance=m2;app=db;region=cdg;replay_source=m1;reason=timeout;elapsed_ms=12"
    )


def test_aliases_stand_for_their_regions() -> None:
    assert region_matches("cdg", "cdg")
    assert region_matches("eu", "cdg")
    assert region_matches("na", "ord")
    assert not region_matches("us", "cdg")
    assert parse_region_list("CDG, us,any") == (("cdg", "us"), True)
