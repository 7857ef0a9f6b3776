"""Text from outside: whatever it holds, it is shown on its line and nothing obeys it."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.text import lines_of, log_line, markdown_text, one_line, quoted_end, telling_lines

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


RUBY = "\n".join(
    ["! Unable to load application: KeyError: key not found: \"SECRET\"",
     "app.rb:7:in `fetch': key not found: \"SECRET\" (KeyError)",
     *[f"\tfrom /gems/rack/builder.rb:{n}:in `block in load'" for n in range(40)]]
)  # fmt: skip
JAVA = "\n".join(
    ["Exception in thread \"main\" java.lang.IllegalStateException: no DATABASE_URL",
     *[f"\tat shelf.App.main(App.java:{n})" for n in range(40)],
     "Caused by: java.lang.NullPointerException: url",
     *[f"\tat shelf.Db.open(Db.java:{n})" for n in range(9)],
     "\t... 12 more"]
)  # fmt: skip
NODE = "\n".join(
    ["/app/server.js:3", "const x = y;", "          ^",
     "ReferenceError: y is not defined",
     *[f"    at Module._compile (node:internal/modules/loader:{n}:14)" for n in range(30)],
     "Node.js v20.20.2"]
)  # fmt: skip
GO = "\n".join(
    ["panic: dial tcp: lookup db: no such host", "", "goroutine 1 [running]:",
     *[line for n in range(20) for line in (f"main.step{n}(0xc0000)", f"\t/src/main.go:{n} +0x1d")],
     "exit status 2"]
)  # fmt: skip
PYTHON = "\n".join(
    ["Traceback (most recent call last):",
     *[line for n in range(20)
       for line in (f'  File "/venv/gunicorn.py", line {n}, in run', "    super().run()")],
     '  File "/app/main.py", line 4, in <module>', '    os.environ["SECRET"]',
     "    ~~~~~~~~~~^^^^^^^^^^", "KeyError: 'SECRET'", "Worker exiting"]
)  # fmt: skip
PHP = "\n".join(
    ["PHP Fatal error:  Uncaught PDOException: could not find driver in /app/index.php:3",
     "Stack trace:", *[f"#{n} /app/index.php({n}): PDO->__construct()" for n in range(20)],
     "  thrown in /app/index.php on line 3"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "telling"),
    [(RUBY, "key not found"), (JAVA, "no DATABASE_URL"), (JAVA, "NullPointerException: url"),
     (NODE, "y is not defined"), (GO, "no such host"), (PYTHON, "KeyError: 'SECRET'"),
     (PYTHON, "main.py"), (PHP, "could not find driver")],
)  # fmt: skip
def test_what_went_wrong_is_told_however_long_its_stack_is(printed: str, telling: str) -> None:
    told = telling_lines(printed, 12)

    assert telling in "\n".join(told)
    assert len(told) <= 12
    assert any("more lines of the stack" in line for line in told)


@given(ANYTHING, st.integers(1, 20))
def test_telling_lines_are_lines_of_the_text(text: str, count: int) -> None:
    told = telling_lines(text, count)

    assert len(told) <= count
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert all(line in lines or "more lines of the stack" in line for line in told)


def test_an_output_without_a_stack_is_cut_to_its_end() -> None:
    assert telling_lines("\n".join(map(str, range(30))) + "\n\n", 3) == ["27", "28", "29"]


def test_the_end_of_what_was_printed_is_quoted_and_obeyed_by_nobody() -> None:
    assert quoted_end("a\nb\n\x1b[2Jc\n\n", 2) == "  | b\n  | \N{REPLACEMENT CHARACTER}[2Jc"


COMMANDS = ("::error::", "##[add-mask]", "##vso[task.setvariable]", "##TeamCity[x]", " ::a::")


@pytest.mark.parametrize("command", COMMANDS)
@given(before=ANYTHING, after=ANYTHING)
def test_no_reader_of_a_log_finds_a_command(command: str, before: str, after: str) -> None:
    for text in (command + after, before + command + after):
        line = log_line(text)

        assert not line.lstrip().startswith("::")
        assert not any(mark in line.lower() for mark in ("##[", "##vso[", "##teamcity["))


def test_a_line_without_a_command_stays_as_it_is() -> None:
    assert log_line("## a ::b:: #[c] C++::d") == "## a ::b:: #[c] C++::d"
