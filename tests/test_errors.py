"""A message stays one that a person reads, whatever it names."""

from __future__ import annotations

import pytest

from loadtest.errors import LONGEST_LINE, MOST_LINES, PlanError, RecordsError


def test_a_line_keeps_both_its_ends() -> None:
    said = str(RecordsError(f"key {'x' * 70_000}: unknown; allowed: seed"))
    assert len(said) < LONGEST_LINE + 40
    assert said.startswith("key xxx")
    assert said.endswith("unknown; allowed: seed")
    assert f"({70_000 + 28 - LONGEST_LINE} characters)" in said


def test_of_many_faults_the_first_are_named_and_the_others_counted() -> None:
    error = PlanError(*(f"regions: no {n}" for n in range(5_000)))
    lines = str(PlanError(*error.faults)).split("\n")
    assert len(lines) == MOST_LINES + 1
    assert (lines[0], lines[-1]) == ("regions: no 0", f"... and {5_000 - MOST_LINES} more")


@pytest.mark.parametrize("message", ["", "rate: -1: want more than 0", "two\nlines"])
def test_an_ordinary_message_is_as_it_was_written(message: str) -> None:
    assert str(PlanError(message)) == message
