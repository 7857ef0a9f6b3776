"""Text from outside: whatever it holds, it is shown on its line and nothing obeys it."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.text import lines_of, markdown_text, one_line

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANYTHING)
def test_one_line_holds_nothing_that_a_terminal_or_parser_obeys(text: str) -> None:
    safe = one_line(text)

    assert len(safe.splitlines()) <= 1
    assert {unicodedata.category(c) for c in safe} & {"Cc", "Cs", "Zl", "Zp"} == set()
    assert all(unicodedata.bidirectional(c)[:2] not in ("RL", "LR", "PD", "FS") for c in safe
               if unicodedata.category(c) == "Cf")  # fmt: skip
    assert safe.encode("utf-8").decode("utf-8") == safe
    assert len(safe) == len(text)


@given(ANYTHING)
def test_one_line_stands_in_xml(text: str) -> None:
    element = ET.Element("a", text=one_line(text))
    element.text = one_line(text)

    read = ET.fromstring(ET.tostring(element, "unicode"))

    assert (read.text or "") == read.get("text") == one_line(text)


@given(ANYTHING)
def test_a_safe_text_is_left_alone(text: str) -> None:
    assert one_line(one_line(text)) == one_line(text)


@given(ANYTHING)
def test_markdown_text_starts_no_block_row_or_mention(text: str) -> None:
    safe = markdown_text(f"a {text}")
    bare = safe.replace("\\\\", "").replace("\\|", "").replace("\\<", "").replace("\\`", "")

    assert not set(bare) & set("|<`\n\r")
    assert all(safe[i + 1] == "\N{ZERO WIDTH NON-JOINER}" for i, c in enumerate(safe) if c == "@")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é 日本 👩‍👩‍👧 a  b", "é 日本 👩‍👩‍👧 a  b"),
        ("a\x1b[31mred", "a\N{REPLACEMENT CHARACTER}[31mred"),
        ("a\r\nb\tc", "a  b c"),
        ("x\u202etxt.exe", "x\N{REPLACEMENT CHARACTER}txt.exe"),
        ("    indent", "    indent"),
    ],
)
def test_what_people_write_stays(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_lines_stay_lines() -> None:
    assert lines_of("a\x07\nb\r\n") == "a\N{REPLACEMENT CHARACTER}\nb \n"
