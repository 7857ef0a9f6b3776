"""What failures say: counted by place, bounded, with the line of the scenario that raised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.engine.worker.failure_log import MAX_TOLD, FailureLog, sentence_of
from loadtest.errors import RecordsError
from loadtest.frozen import read, to_json
from loadtest.records.failures import MAX_SENTENCE, FailureExample

SCENARIO = """
def task():
    return len(None)
def deeper():
    import json
    json.loads("{")
"""


def raised(path: Path, function: str) -> Exception:
    space: dict[str, object] = {}
    exec(compile(SCENARIO, str(path), "exec"), space)
    with pytest.raises(Exception, match=r"NoneType|property name") as caught:
        space[function]()  # type: ignore[operator]
    return caught.value


def test_an_exception_names_the_line_of_the_scenario(tmp_path: Path) -> None:
    said = sentence_of(raised(tmp_path / "mine.py", "task"))

    assert said == "TypeError in mine.py:3: object of type 'NoneType' has no len()"
    assert sentence_of(raised(tmp_path / "mine.py", "deeper")).startswith(
        "JSONDecodeError in mine.py:6: "
    )


def test_an_exception_without_a_line_or_words_is_its_name() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert sentence_of(ValueError()) == "ValueError"
    assert sentence_of(MuteError()) == "MuteError"


def test_each_kind_in_each_place_has_an_example_before_any_has_two() -> None:
    log = FailureLog(("multi", "replica"), ("browse",))
    for number in range(200):
        log.note("tls", 0, 0, "GET /", f"sentence {number}")
        log.note("tls", 0, 0, "GET /", f"sentence {number}")
    log.note("status", 1, 0, "GET /x", "HTTP 500")

    told = log.examples()

    assert (told[0].sentence, told[0].count) == ("sentence 0", 2)
    assert (told[1].kind, told[1].deployment, told[1].name) == ("status", "replica", "GET /x")
    assert len(told) == MAX_TOLD


@given(st.text(st.characters(codec=None, exclude_categories=())), st.text())
def test_what_is_noted_can_be_sent_and_read_again(sentence: str, name: str) -> None:
    log = FailureLog(("multi",), ("browse",))
    log.note("check", 0, 0, name, sentence)
    (example,) = log.examples()

    told = read(FailureExample, json.loads(json.dumps(to_json(example))), "failures")

    assert told == example
    assert len(example.sentence.encode()) <= 4 * MAX_SENTENCE


@pytest.mark.parametrize("key", ["kind", "deployment", "scenario", "name", "sentence", "count"])
def test_an_example_that_lacks_a_key_is_refused(key: str) -> None:
    whole = to_json(FailureExample("tls", "multi", "browse", "GET /", "it broke", 1))

    for bad in (
        {k: v for k, v in whole.items() if k != key},
        {**whole, key: None},
        {**whole, "extra": 1},
    ):
        with pytest.raises(RecordsError, match=r"^failures\."):
            read(FailureExample, bad, "failures")
