"""The command line in this process: its exit code and output, or the exception that it let go."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from loadtest import cli

DOCUMENTED = frozenset({0, 2, 10, 11, 12, 13, 14, 15, 130})
"""Exit codes that a person may meet; 1 is a bug (`loadtest --help`)."""


@dataclass(frozen=True)
class Told:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*words: str) -> Told:
    """Run a command; an exception that the command line does not foresee comes out of here."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["loadtest", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Told(code, out.getvalue(), err.getvalue())
