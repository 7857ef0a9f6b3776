"""What GitHub Actions reads: annotations on standard output and the job summary's file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from loadtest.errors import LoadtestError
from loadtest.gate.results import Decision, Verdict

MAX_ANNOTATIONS: Final = 10
"""GitHub shows ten of a kind for a step and drops the rest without a word."""
MAX_SUMMARY_BYTES: Final = 1024 * 1024
"""GitHub refuses a larger job summary."""

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


def append_summary(path: Path, markdown: str) -> None:
    """
    Append the verdict block to the job summary's file.

    Args:
        path: Value of GITHUB_STEP_SUMMARY.
        markdown: Text of ``markdown.render``.

    Raises:
        LoadtestError: The file cannot be written.
    """
    try:
        used = path.stat().st_size if path.exists() else 0
        content = markdown.encode()
        if used + len(content) > MAX_SUMMARY_BYTES:
            note = b"\n\nThe rest did not fit; see the run's report.\n"
            room = max(0, MAX_SUMMARY_BYTES - used - len(note))
            content = content[:room].decode(errors="ignore").encode() + note
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise LoadtestError(
            f"GITHUB_STEP_SUMMARY: {path} cannot be written: {error.strerror}; unset the variable "
            "to go without a job summary"
        ) from error


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
