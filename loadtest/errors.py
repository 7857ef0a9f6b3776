"""
Every error a person may see, and the exit code it ends the program with.

    LoadtestError
    ├── PlanError       13  the plan, a flag or a threshold is wrong; nothing was started
    ├── WorldError      14  the place to measure could not be brought up or broke
    ├── EngineError     15  the load could not be generated or its records were lost
    └── RecordsError    12  a stored run cannot be read or trusted
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

EXIT_PASS = 0
EXIT_FAIL = 10
EXIT_INCONCLUSIVE = 11
EXIT_INVALID = 12
EXIT_PLAN = 13
EXIT_WORLD = 14
EXIT_ENGINE = 15
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


LONGEST_LINE: Final = 2_000
"""Characters of a line of a message; what is wrong stands at its begin, the cure at its end."""

MOST_LINES: Final = 60


class LoadtestError(Exception):
    """
    An error with a sentence for the person who runs the program.

    The message names the key or thing at fault, the bad value, what is allowed and what to do.
    However long what it names, it stays a message: long lines lose their middle, many lines their
    end, and each says how much.

    Args:
        message: One line or more.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(_bounded(message.split("\n"))))


class PlanError(LoadtestError):
    """
    The plan is wrong; carries every fault found, not only the first.

    Args:
        faults: One sentence each.
    """

    exit_code = EXIT_PLAN

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class WorldError(LoadtestError):
    """The world could not be brought up, or broke while it was in use."""

    exit_code = EXIT_WORLD


class EngineError(LoadtestError):
    """The load could not be generated, or what it measured could not be collected."""

    exit_code = EXIT_ENGINE


class RecordsError(LoadtestError):
    """A stored run is missing, damaged, or of a schema this version does not read."""

    exit_code = EXIT_INVALID


def _bounded(lines: Sequence[str]) -> tuple[str, ...]:
    more = len(lines) - MOST_LINES
    kept = tuple(_shortened(line) for line in lines[:MOST_LINES])
    return kept if more <= 0 else (*kept, f"... and {more} more")


def _shortened(line: str) -> str:
    over = len(line) - LONGEST_LINE
    if over <= 0:
        return line
    ends = LONGEST_LINE // 2
    return f"{line[:ends]}... ({over} characters) ...{line[-ends:]}"
