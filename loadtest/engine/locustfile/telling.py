"""Tells the command line what a Python file is found to be, from a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from loadtest.errors import LoadtestError


def tell(look: Callable[[str, Mapping[str, object]], Mapping[str, object]]) -> NoReturn:
    """
    Answer the question on standard input by an object on standard output, as JSON, and end.

    What the file itself prints goes to standard error.  It may have started threads that would keep
    the process, so that ends at once.

    Args:
        look: Takes path and settings and returns the answer; a LoadtestError becomes its ``error``.
    """
    told = os.dup(1)
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    try:
        answer = look(asked["path"], asked["settings"])
    except LoadtestError as error:
        answer = {"error": str(error)}
    with os.fdopen(told, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    sys.stderr.flush()
    os._exit(0)
