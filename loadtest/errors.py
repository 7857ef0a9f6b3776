"""
Every error a person may see, and the exit code it ends the program with.

    LoadtestError
    ├── PlanError       13  the plan, a flag or a threshold is wrong; nothing was started
    ├── WorldError      14  the place to measure could not be brought up or broke
    ├── EngineError     15  the load could not be generated or its records were lost
    └── RecordsError    12  a stored run cannot be read or trusted
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FAIL = 10
EXIT_INCONCLUSIVE = 11
EXIT_INVALID = 12
EXIT_PLAN = 13
EXIT_WORLD = 14
EXIT_ENGINE = 15
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class LoadtestError(Exception):
    """
    An error with a sentence for the person who runs the program.

    The message names the key or thing at fault, the bad value, what is allowed and what to do.
    """

    exit_code = 1


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
