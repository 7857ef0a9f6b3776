"""Files for other programs, written after a run: its rows, or the one object that says it all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.errors import LoadtestError, PlanError, RecordsError
from loadtest.records.whole import whole_file
from loadtest.run.result import result_of

if TYPE_CHECKING:
    from loadtest.run.judge import Judged

FORMS: Final = ("csv", "ndjson", "json")


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file to write, and its form: one of ``FORMS``."""

    form: str
    path: Path


def read_outputs(texts: Sequence[str]) -> tuple[OutputFile, ...]:
    """
    Return what ``--output FORM=FILE`` asks for.

    Raises:
        PlanError: A form is unknown, or a file cannot be put where it should be.
    """
    faults: list[str] = []
    found: list[OutputFile] = []
    for text in texts:
        form, equals, name = text.partition("=")
        path = Path(name)
        if not equals or form not in FORMS or not name:
            faults.append(f"--output: {text[:80]!r} is not FORM=FILE with FORM {', '.join(FORMS)}")
        elif path.is_dir() or not path.parent.is_dir():
            why = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            faults.append(f"--output: {name[:200]!r}: {why}; name a file in a folder that is there")
        found.append(OutputFile(form, path))
    if faults:
        raise PlanError(*faults)
    return tuple(found)


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
    if output.form != "json":
        from loadtest.records.export import export_rows

        export_rows(judged.folder / "records.parquet", output.path, output.form)
        return
    text = json.dumps(result_of(judged), allow_nan=False)
    try:
        with whole_file(output.path) as file:
            file.write(f"{text}\n".encode("ascii"))
    except OSError as error:
        raise RecordsError(f"{output.path}: cannot be written: {error.strerror}") from error
