"""The messages that docs/gate.md explains are those that the program prints."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
SECTION = (TOP / "docs" / "gate.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2]
ROWS = re.findall(r"^\| `([^`]+)`[^|]*\| ([^|]+) \|$", SECTION.partition("\n## ")[0], re.MULTILINE)
DIFFERS = "…"


@cache
def texts() -> tuple[str, ...]:
    """Return every text of the program; what is filled in stands as DIFFERS."""
    found = []
    rooms = ("run", "fly", "world/images", "gate")
    for path in (p for room in rooms for p in (TOP / "loadtest" / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else DIFFERS for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def printed(message: str) -> bool:
    """Tell whether the program has a text with all parts of a message, in their order."""
    parts = [re.escape(part.strip()) for part in message.split(DIFFERS)]
    pattern = re.compile(r"\s*.*?\s*".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in texts())


@pytest.mark.parametrize("message", [message for message, _ in ROWS])
def test_a_message_that_is_explained_is_one_of_the_programs(message: str) -> None:
    assert printed(message)


def test_a_message_of_another_program_is_found_out() -> None:
    assert not printed("segmentation … (core dumped)")


def test_the_table_is_read() -> None:
    """A table that is written otherwise would pass with nothing in it."""
    assert len(ROWS) > 18
    assert all(cure.strip() for _, cure in ROWS)
