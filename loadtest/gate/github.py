"""What GitHub Actions reads: annotations on standard output and the job summary's file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from loadtest.errors import LoadtestError
from loadtest.gate.results import Decision, Verdict
from loadtest.text import log_line

MAX_ANNOTATIONS: Final = 10
"""GitHub shows ten of a kind for a step and drops the rest without a word."""
MAX_SUMMARY_BYTES: Final = 1024 * 1024
"""GitHub refuses a larger job summary."""

_OF_ADDRESSES: Final = "%/:=&?~#+!,;@'*[]"
_CUT: Final = b"\nThe rest did not fit; see the run's report.\n"
_LEVELS: Final[dict[Decision, str]] = {
    "fail": "error",
    "invalid": "error",
    "inconclusive": "warning",
}


def annotation_lines(verdict: Verdict) -> list[str]:
    """
    Return workflow commands, one a line, for every rule that did not pass.

    Source: "Workflow commands for GitHub Actions", docs.github.com.
    """
    lines = [
        f"::error title={_property('loadtest: invalid run')}::{_message(sentence)}"
        for sentence in verdict.invalid
    ]
    for result in verdict.rules:
        level = _LEVELS.get(result.decision)
        if level is None or (result.decision == "invalid" and verdict.invalid):
            continue
        title = _property(f"loadtest {result.decision}: {result.rule}")
        lines.append(f"::{level} title={title}::{_message(f'{result.why} {result.flip}')}")
    kept = lines[:MAX_ANNOTATIONS]
    if len(lines) > len(kept):
        more = len(lines) - len(kept) + 1
        kept[-1] = f"::warning title=loadtest::{more} more findings are in the job summary"
    return kept


def append_summary(path: Path, markdown: str, *, link: str = "") -> None:
    """
    Append the verdict block to the job summary's file, as much of it as there is room for.

    GitHub drops a summary that is too large as a whole, with what other steps wrote; so what is in
    the file counts, and where not even the note fits, nothing is written.

    Args:
        path: Value of GITHUB_STEP_SUMMARY.
        markdown: Text of ``markdown.render``.
        link: Page of the job with its artifacts, named first so that no cut takes it; may be empty.

    Raises:
        LoadtestError: The file cannot be written.
    """
    try:
        used = path.stat().st_size if path.exists() else 0
        told = f"[Artifacts of this run]({quote(link, safe=_OF_ADDRESSES)})\n\n" if link else ""
        with open(path, "ab", opener=_at_once) as file:
            file.write(_fitting((told + markdown).encode(), MAX_SUMMARY_BYTES - used))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LoadtestError(
            f"GITHUB_STEP_SUMMARY: {path} cannot be written: {reason}; unset the variable "
            "to go without a job summary"
        ) from error


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting: a pipe that nobody reads would keep the verdict from its end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _fitting(content: bytes, room: int) -> bytes:
    """Return what fits the room, cut at a line's end, with a note where something is left out."""
    if len(content) <= room:
        return content
    if len(_CUT) > room:
        return b""
    kept = content[: room - len(_CUT)]
    return kept[: kept.rfind(b"\n") + 1] + _CUT


def _message(text: str) -> str:
    return log_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
