"""The right side of the cut: a stored run becomes summary, verdict, report.  Redone at will."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import EXIT_INTERRUPTED, LoadtestError, RecordsError
from loadtest.records.folder import LATEST, RunFolder
from loadtest.records.seal import derived_print, seal
from loadtest.run.forge import job_link

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict
    from loadtest.report.pages.tables import Table

_JUDGING = (
    "analysis.summary",
    "gate.junit",
    "gate.verdict",
    "report.base.svg",
    "report.pages.html",
)

LOADING_S = 3.0
"""A warm-up of so many seconds is longer than `load_early` takes."""

REPORTS = Path("reports")


@dataclass(frozen=True, slots=True)
class Judged:
    """What the command line says of a run: tables, the verdict block, where the report is."""

    folder: Path
    decision: str
    exit_code: int
    report: Path
    verdict_lines: list[str]
    annotations: list[str]
    markdown: str
    summary: Summary
    verdict: Verdict
    tables: list[Table] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """What a person should know who has no reason to look for it."""
    unwritten: tuple[str, ...] = ()
    """Why files of the verdict could not be written; it stands without them."""


def find_folder(folder: Path | None) -> RunFolder:
    """
    Return the run folder that is meant; None means the latest.

    Raises:
        RecordsError: There is none.
    """
    if folder is None:
        folder = REPORTS / LATEST
        if not folder.is_dir():
            raise RecordsError(f"{folder}: no run yet; `loadtest run` makes one")
    return RunFolder.open(folder)


@cache
def load_early() -> None:
    """
    Import what judging and drawing need, in a thread: pandas and matplotlib take their time.

    A run has that while its machines start elsewhere, or in its warm-up where they start here and
    need the processors themselves; not once it has measured, and not while it does.
    """

    def load() -> None:
        for name in _JUDGING:
            importlib.import_module(f"loadtest.{name}")

    threading.Thread(target=load, name="judging").start()


def judge_folder(folder: Path | None, *, command: str = "", interrupted: bool = False) -> Judged:
    """
    Analyse a stored run and write summary, verdict, report and JUnit file into its folder.

    Args:
        folder: Run folder; None takes the latest.
        command: The command line that made it; empty takes the stored one.
        interrupted: The run was stopped by a person, which is what the exit code then says.

    Raises:
        RecordsError: The run cannot be read.  What cannot be written is told in what is returned.
    """
    from loadtest.analysis.wire import databases_passed_by
    from loadtest.gate import github, junit, markdown
    from loadtest.report.pages import tables
    from loadtest.report.pages.write import HTML_NAME, write_report

    found = find_folder(folder)
    _rescue(found)
    run, summary, verdict = _judge(found, look=None)
    summary = summary.judged(verdict.decision)
    told_summary = summary.to_json()
    told_summary["print"] = derived_print(found.path, told_summary)
    told = command or (run.world.run.command if run.world.run is not None else "")
    unwritten = _written(
        lambda: found.save_json("summary.json", told_summary),
        lambda: found.save_json("verdict.json", verdict.to_json()),
        lambda: found.save_text("junit.xml", junit.render(verdict)),
        lambda: write_report(found.path, run, summary, verdict, told),
    )
    return Judged(
        folder=found.path,
        decision=verdict.decision,
        exit_code=EXIT_INTERRUPTED if interrupted else verdict.exit_code,
        report=found.file(HTML_NAME),
        verdict_lines=tables.verdict_block(verdict),
        annotations=github.annotation_lines(verdict),
        markdown=markdown.render(verdict, summary),
        tables=tables.terminal_tables(run, summary, verdict),
        summary=summary,
        verdict=verdict,
        notes=databases_passed_by(run.world),
        unwritten=unwritten,
    )


def _written(*writers: Callable[[], object]) -> tuple[str, ...]:
    """Write each file; return why one could not be: the verdict stands without it."""
    failed = []
    for write in writers:
        try:
            write()
        except RecordsError as error:
            failed.append(str(error))
    return tuple(failed)


def tell_github(
    judged: Judged, environ: Mapping[str, str], *, warn: Callable[[str], None]
) -> list[str]:
    """
    Append the verdict to the job summary where there is one; return the annotations to print.

    Args:
        judged: What to tell.
        environ: GITHUB_STEP_SUMMARY names the summary's file, GITHUB_ACTIONS asks for annotations.
        warn: Hears why the summary cannot be written; the verdict stands all the same.
    """
    from loadtest.gate import github

    if summary := environ.get("GITHUB_STEP_SUMMARY"):
        try:
            github.append_summary(Path(summary), judged.markdown, link=job_link(environ))
        except LoadtestError as error:
            warn(str(error))
    return judged.annotations if environ.get("GITHUB_ACTIONS") == "true" else []


def _rescue(folder: RunFolder) -> None:
    """Merge the parts of a run that was killed before it could do so itself."""
    if not folder.records.is_file() and any(folder.path.glob("parts/*.parquet")):
        folder.merge_parts(keep=True)  # it may be going on still


def undecided(folder: RunFolder, look: int) -> bool:
    """Tell whether more sampling is allowed and could decide what the gate leaves open."""
    _run, _summary, verdict = _judge(folder, look=look)
    return verdict.wants_more


def seal_folder(folder: Path) -> Path:
    """
    Seal a stored run again after a deliberate edit; return its manifest.

    Raises:
        RecordsError: It is no run folder, or cannot be written.
    """
    return seal(find_folder(folder).path, "by hand")


def judge_stored(folder: RunFolder) -> tuple[Run, Summary, Verdict]:
    """
    Return a stored run with summary and verdict; nothing is written.

    Raises:
        RecordsError: It cannot be read.
    """
    return _judge(folder, look=None)


def report_path(folder: Path | None) -> Path:
    """
    Return where the HTML report of a stored run is.

    Raises:
        RecordsError: There is no run, or it has no report yet.
    """
    path = find_folder(folder).file("report.html")
    if not path.is_file():
        raise RecordsError(f"{path}: not there; `loadtest analyze {path.parent}` writes it")
    return path


def _judge(folder: RunFolder, *, look: int | None) -> tuple[Run, Summary, Verdict]:
    from loadtest.analysis.load import load_run
    from loadtest.analysis.summary import summarise
    from loadtest.gate.verdict import judge

    run = load_run(folder.path)
    if look is not None:  # between two segments nothing is sealed yet
        run = replace(run, sealed="run")
    summary = summarise(run)
    looks = run.plan.gate.max_looks
    return run, summary, judge(run, summary, look=look or max(1, run.segments), looks=looks)
