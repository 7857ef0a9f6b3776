"""A stored run that is bent on purpose, and what the program then says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command_line
import pyarrow as pa
import pyarrow.parquet as pq
import synth
from mutation import Path as Place
from mutation import holder_of

from loadtest.analysis.load import load_run
from loadtest.analysis.summary import summarise
from loadtest.errors import RecordsError
from loadtest.gate.verdict import judge
from loadtest.plan.model import Gate
from loadtest.records.schema import RECORDS
from loadtest.records.seal import seal
from loadtest.records.writer import write_table

UNTRUSTED = frozenset({"refused", "invalid"})
"""What a run that was tampered with has to be, whichever the reader notices first."""


@dataclass(frozen=True)
class Stored:
    """A copy of a good run that a fault is put into."""

    folder: Path
    other: Path
    """Another good run, of the same plan but for its seed."""

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def save(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def edit(self, name: str, change: Callable[[Any], Any]) -> None:
        """Let a function change a file's content, in place or by what it returns."""
        content = self.json(name)
        self.save(name, change(content) or content)

    def put(self, name: str, place: Place, value: Any) -> None:
        """Set one value of a file."""
        self.edit(name, lambda content: holder_of(content, place).__setitem__(place[-1], value))

    def bytes(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.folder / name
        path.write_bytes(change(path.read_bytes()))

    def rows(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]] | None]) -> None:
        """Let a function change the rows, in place or by what it returns."""
        path = self.folder / "records.parquet"
        rows = pq.read_table(path).to_pylist()
        changed = change(rows)
        rows = rows if changed is None else changed
        path.unlink()
        write_table(path, [pa.Table.from_pylist(rows, RECORDS)])


@dataclass(frozen=True)
class Fault:
    """
    One fault of a stored run.

    ``told`` is a word of the sentence that has to be said.  ``ends`` are the outcomes that are
    right.  ``sealed``: the folder is sealed again by hand, so that not the seal has to notice.
    """

    name: str
    bend: Callable[[Stored], object]
    told: str
    ends: frozenset[str] = UNTRUSTED
    sealed: bool = True
    noted: str = "sealed again by hand"
    """What has to be said of a run that passes all the same."""


@dataclass(frozen=True)
class Word:
    """The program's word on a folder: refused or a decision, and all its sentences."""

    decision: str
    sentences: str


def make_pair(place: Path) -> tuple[Path, Path]:
    """Write two good runs that pass, small enough to be judged in a fifth of a second."""
    folders = []
    for number in range(2):
        plan = synth.make_plan(
            regions=("cdg", "ord"),
            thresholds=("ttfb.p50 < 10s",),
            gate=Gate(resamples=200),
            seed=20_260_801 + number,
        )
        folders.append(synth.write_run(place / f"run-{number}", plan, seconds=30, seed=3 + number))
    return folders[0], folders[1]


def bent(fault: Fault, pair: tuple[Path, Path], place: Path) -> Path:
    """Return a copy of the first run with the fault in it."""
    folder = place / "run"
    shutil.copytree(pair[0], folder)
    fault.bend(Stored(folder, pair[1]))
    if fault.sealed:
        seal(folder, "by hand")
    return folder


def word_on(folder: Path) -> Word:
    """Judge a folder; only our own errors may come of it."""
    try:
        run = load_run(folder)
        summary = summarise(run)
        verdict = judge(run, summary)
    except RecordsError as error:
        return Word("refused", str(error))
    checks = [f"{check.why} {check.advice}" for check in summary.validity.checks]
    return Word(verdict.decision, " ".join([verdict.sentence, *checks]))


def wrong_end(fault: Fault, word: Word) -> str:
    """Return in words what is wrong with how a fault ended; empty when nothing is."""
    if word.decision not in fault.ends:
        return f"{fault.name}: {word.decision}: {word.sentences[:300]}"
    told = fault.noted if word.decision in ("pass", "none") else fault.told
    if told not in word.sentences:
        return f"{fault.name}: {told!r} is not in: {word.sentences[:300]}"
    return ""


def commands_on(folder: Path, good: Path) -> dict[str, command_line.Told]:
    """Run every command that reads a stored run on a folder."""
    page = str(folder.parent / "page.html")
    return {
        "gate": command_line.run("gate", str(folder)),
        "analyze": command_line.run("analyze", str(folder)),
        "report": command_line.run("report", "--no-open", str(folder)),
        "compare": command_line.run("compare", str(good), str(folder), "--out", page),
        "history": command_line.run("history", str(folder.parent), "--out", page),
    }
