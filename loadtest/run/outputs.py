"""What a run leaves for other programs: its rows, the one object that says it all, its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.errors import LoadtestError, PlanError, RecordsError
from loadtest.plan.credentials import without_credentials
from loadtest.records.whole import refuse_special, whole_file
from loadtest.run import output_otlp, output_prometheus
from loadtest.run.output_series import Remote, remote_of, series_of
from loadtest.run.result import result_of
from loadtest.units import NS_PER_S

if TYPE_CHECKING:
    from loadtest.run.judge import Judged

FORMS: Final = ("csv", "ndjson", "json")
"""Files."""

REMOTE_FORMS: Final = {"prometheus-rw": output_prometheus.PATH, "otlp": output_otlp.PATH}
"""Systems that keep numbers, each with the path that its protocol has."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """What to write, in one of ``FORMS`` to a file or in one of ``REMOTE_FORMS`` to a URL."""

    form: str
    target: Path | Remote


def read_outputs(texts: Sequence[str]) -> tuple[OutputFile, ...]:
    """
    Return what ``--output FORM=FILE`` and ``--output FORM=URL`` ask for.

    Raises:
        PlanError: A form is unknown or cannot be sent from here, a file cannot be put where it
            should be, or a URL is none.
    """
    faults: list[str] = []
    found: list[OutputFile] = []
    for text in texts:
        form, equals, name = text.partition("=")
        path = Path(name)
        if form in REMOTE_FORMS and name:
            missing = output_otlp.obstacle() if form == "otlp" else ""
            try:
                found.append(OutputFile(form, remote_of(name, REMOTE_FORMS[form])))
            except PlanError as error:
                missing = str(error)
            faults += [f"--output {form}: {missing}"] if missing else []
            continue
        if not equals or form not in FORMS or not name:
            shown = without_credentials(text)[:80]
            faults.append(
                f"--output: {shown!r} is not FORM=FILE with FORM {', '.join(FORMS)}, nor FORM=URL "
                f"with FORM {', '.join(REMOTE_FORMS)}"
            )
        elif why := _no_place(path):
            faults.append(f"--output: {name[:200]!r}: {why}; name a file in a folder that is there")
        found.append(OutputFile(form, path))
    if faults:
        raise PlanError(*faults)
    return tuple(found)


def _no_place(path: Path) -> str:
    """Return why no file can be written in a place; empty where one can."""
    if path.is_dir():
        return "is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    try:
        refuse_special(path)
    except OSError as error:
        return str(error.strerror)
    return ""


def write_outputs(
    judged: Judged, outputs: Iterable[OutputFile], *, warn: Callable[[str], None]
) -> None:
    """
    Write the files; one that cannot be written is told, and changes no verdict.

    Args:
        judged: What came of the run.
        outputs: The files.
        warn: Hears why one is not there.
    """
    for output in outputs:
        try:
            _write(judged, output)
        except LoadtestError as error:
            warn(f"--output {output.form}: {error}")


def _write(judged: Judged, output: OutputFile) -> None:
    if isinstance(output.target, Remote):
        _send(judged, output.form, output.target)
        return
    if output.form != "json":
        from loadtest.records.export import export_rows

        export_rows(judged.folder / "records.parquet", output.target, output.form)
        return
    text = json.dumps(result_of(judged), allow_nan=False)
    try:
        with whole_file(output.target) as file:
            file.write(f"{text}\n".encode("ascii"))
    except OSError as error:
        raise RecordsError(f"{output.target}: cannot be written: {error.strerror}") from error


def _send(judged: Judged, form: str, target: Remote) -> None:
    series = series_of(result_of(judged))
    if form == "otlp":
        output_otlp.send(target, series)
        return
    run = judged.summary.run
    ended_ns = run.started_wall_ns + round(run.measured_s * NS_PER_S)
    output_prometheus.send(target, series, ended_ns)
