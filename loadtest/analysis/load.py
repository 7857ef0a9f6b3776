"""Reads a run folder into memory: plan, world, engine and one lean DataFrame of its records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as with_default
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loadtest.analysis.ordered import Due, refuse_unordered
from loadtest.analysis.possible import refuse_impossible, with_true_queue
from loadtest.analysis.wire import with_wire_counts
from loadtest.errors import PlanError, RecordsError
from loadtest.plan.model import Plan
from loadtest.plan.prints import JUDGED, changed_parts
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.records.engine_account import read_engine
from loadtest.records.facts import EngineFacts, WorkerFacts
from loadtest.records.folder import RunFolder
from loadtest.records.layout import MAX_LETTERS
from loadtest.records.reader import open_records
from loadtest.records.schema import RECORDS
from loadtest.records.seal import Sealed, verify
from loadtest.records.world_facts import EMBEDDED, OWN, WorldFacts, read_world

_CATEGORY_LIMIT = 127
_MOST_BYTES = 2**31 - 1
_MORE_ROWS, _FEW_ROWS = 10, 1_000_000
_MOST_LETTERS = 10 * MAX_LETTERS


@dataclass(frozen=True, slots=True)
class Run:
    """
    A stored run.

    ``frame`` has one row a request (columns of ``records/schema.py``; words are categories).
    ``engine`` is None where the run broke off before the engine left its account.
    ``sealed`` tells who vouches for its files.  ``partial`` tells that the run did not come to its
    planned end.  ``rules_changed`` names the parts of the plan that decide how it is judged and are
    not as they were when it was measured.  ``due`` has the steady arrivals that were ordered,
    ``on_links`` deployment and region of the cells whose round trips links counted.
    """

    plan: Plan
    world: WorldFacts
    engine: EngineFacts | None
    frame: pd.DataFrame
    folder: Path
    partial: bool
    sealed: Sealed = ""
    rules_changed: tuple[str, ...] = ()
    due: Due = with_default(default_factory=dict)
    on_links: frozenset[tuple[str, str]] = frozenset()

    @property
    def run_id(self) -> str:
        """The run's id; that of its folder where the engine left none."""
        return self.engine.run_id if self.engine is not None else self.folder.name

    @property
    def segments(self) -> int:
        """How many times the plan's duration was sampled."""
        return max(1, len(self.engine.segments) if self.engine is not None else 0)

    @property
    def workers(self) -> tuple[WorkerFacts, ...]:
        """The workers' accounts of themselves."""
        return self.engine.workers if self.engine is not None else ()


def load_run(folder: Path) -> Run:
    """
    Read a run folder.

    Args:
        folder: Holds plan.json, world.json, records.parquet and, unless the run broke, engine.json.

    Raises:
        RecordsError: A file is missing, damaged, or of a schema that this version does not read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordsError(f"{folder}: there is no such run folder")
    sealed = verify(folder)  # before anything reads what may be damaged
    files = RunFolder(folder)
    asked = files.load_json("plan.json")
    plan = _plan(folder / "plan.json", asked)
    world = read_world(files.load_json("world.json"))
    broke = not files.file("engine.json").exists()
    engine = None if broke else read_engine(files.load_json("engine.json"))
    _check_place(plan, world, engine)
    ordered = engine.plan if engine is not None else {}
    changed = changed_parts(asked, ordered) if engine is not None else []
    known = JUDGED & asked.keys() & ordered.keys()
    if other := [part for part in changed if part not in known]:
        raise RecordsError(
            f"{folder / 'plan.json'}: {', '.join(other)}: not as in the plan that the engine was "
            "ordered to run (engine.json, plan): the plan was changed afterwards, or is another "
            "run's"
        )
    apps = world.apps or {}
    if lost := [d.name for d in plan.deployments if not d.url and d.name not in apps]:
        raise RecordsError(f"world.json: apps: the plan's {', '.join(lost)} are missing")
    frame = read_records(folder / "records.parquet", _most_rows(engine))
    refuse_impossible(frame, plan, engine)
    due = refuse_unordered(frame, plan, engine)
    frame = with_true_queue(frame, plan)
    frame, on_links = with_wire_counts(frame.drop(columns="start_us"), world)
    return Run(
        plan=plan,
        world=world,
        engine=engine,
        frame=frame,
        folder=folder,
        partial=engine is None or engine.state != "done",
        sealed=sealed,
        rules_changed=tuple(changed),
        due=due,
        on_links=on_links,
    )


def _most_rows(engine: EngineFacts | None) -> float:
    """Return more rows than a run can have left: a small file can hold more than a memory does."""
    if engine is None:
        return math.inf
    return _MORE_ROWS * sum(worker.rows.sent for worker in engine.workers) + _FEW_ROWS


def read_records(path: Path, most: float = math.inf) -> pd.DataFrame:
    """
    Read records column by column, so that no more than one column is held twice.

    Words become categories of one or two bytes; times stay whole microseconds of four.

    Args:
        path: The file.
        most: Rows from which on it is not read.

    Raises:
        RecordsError: The file is missing, damaged or of another schema, or has too many rows.
    """
    if not path.is_file():
        raise RecordsError(f"{path} is missing: the run measured nothing, or was moved in part")
    try:
        words = [field.name for field in RECORDS if pa.types.is_dictionary(field.type)]
        with open_records(path, words) as file:
            _check_columns(path, file.schema_arrow)
            if (rows := file.metadata.num_rows) > most:
                raise RecordsError(f"{path}: has {rows} rows, far more than the workers sent")
            columns = {name: _column(file.read([name]).column(0)) for name in RECORDS.names}
            _check_lengths(path, columns, file.metadata.num_rows)
            columns["bytes"] = columns["bytes"].clip(max=_MOST_BYTES).astype(np.int32)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:  # a name may be no UTF-8
        raise RecordsError(f"{path} cannot be read: {error}; measure again") from error
    return pd.DataFrame(columns, copy=False)


def read_starts(run: Run) -> NDArray[np.int64]:
    """
    Return when each request of a run left, in the order of its frame; -1 for what never did.

    The frame does without this column, for few ask.

    Raises:
        RecordsError: The file is not there any more, or was changed.
    """
    path = run.folder / "records.parquet"
    try:
        with open_records(path, []) as file:
            starts = file.read(["start_us"]).column(0).to_numpy()
    except (pa.ArrowException, OSError) as error:
        raise RecordsError(f"{path} cannot be read: {error}; measure again") from error
    return np.asarray(starts, np.int64)


def _check_columns(path: Path, found: pa.Schema) -> None:
    """Refuse columns that are missing, of another type, or there twice."""
    for field in RECORDS:
        there = found.get_all_field_indices(field.name)
        if len(there) != 1:
            how = "missing" if not there else "there more than once"
            raise RecordsError(f"{path}: column {field.name} is {how}; measure again")
        kind = found.field(there[0]).type
        if kind != field.type:
            raise RecordsError(f"{path}: column {field.name} is {kind}, not {field.type}")


def _check_lengths(path: Path, columns: Mapping[str, Any], rows: int) -> None:
    """Refuse columns that are not of the length that the file tells: a page was damaged."""
    for name, values in columns.items():
        if len(values) != rows:
            raise RecordsError(
                f"{path}: column {name} has {len(values)} of {rows} values; measure again"
            )


def _column(chunks: pa.ChunkedArray) -> Any:
    if chunks.null_count:
        raise RecordsError(f"records.parquet: {chunks.null_count} values are missing in a column")
    if not pa.types.is_dictionary(chunks.type):
        return chunks.to_numpy()
    unified = chunks.unify_dictionaries()
    names = unified.chunk(0).dictionary.to_pylist() if unified.num_chunks else []
    # A dictionary in the file may hold a word twice or one that no row uses; categories may not.
    unique = sorted(set(names))
    if any(len(name or "") > _MOST_LETTERS for name in unique):
        raise RecordsError(
            f"records.parquet: a word of more than {_MOST_LETTERS} letters, which no worker writes"
        )
    small = np.int8 if len(unique) <= _CATEGORY_LIMIT else np.int32
    recode = np.array([unique.index(name) for name in names], dtype=small)
    indices = [chunk.indices.to_numpy() for chunk in unified.chunks]
    if any(len(part) and not 0 <= part.min() <= part.max() < len(names) for part in indices):
        raise RecordsError("records.parquet: a column has a code without a word; measure again")
    parts = [recode[part] for part in indices]
    codes: NDArray[np.integer[Any]] = np.concatenate(parts) if parts else np.empty(0, small)
    return pd.Categorical.from_codes(codes, categories=pd.Index(unique, dtype=object))


def _plan(path: Path, content: Mapping[str, Any]) -> Plan:
    try:
        plan = Plan.model_validate(content)
    except ValueError as error:
        # The checker's first line counts its findings, the second names the first key.
        key = [*str(error).splitlines(), "", ""][1]
        raise RecordsError(
            f"{path}: {key!r} is not as this version knows it; the run was made by another version "
            "of loadtest, read it with that one"
        ) from None
    _check_resolved(plan, path)
    return plan


def _check_resolved(plan: Plan, path: Path) -> None:
    """Refuse a plan that no run can have had: a run's plan is resolved and fits together."""
    names = [deployment.name for deployment in plan.deployments]
    faults = [
        f"network.rtt_ms has no {a}-{b}"
        for a, b in combinations(sorted(set(plan.regions)), 2)
        if f"{a}-{b}" not in plan.network.rtt_ms
    ]
    if len(set(plan.regions)) < len(plan.regions) or len(set(names)) < len(names):
        faults.append("a region or a deployment is named more than once")
    if plan.primary_region not in plan.regions:
        faults.append(f"primary_region {plan.primary_region!r} is not among its regions")
    try:
        for rule in plan.thresholds:
            parse_threshold(rule)
    except PlanError as error:
        faults += error.faults
    if faults:
        raise RecordsError(f"{path}: is no plan that a run can have had: {faults[0]}")


def _check_place(plan: Plan, world: WorldFacts, engine: EngineFacts | None) -> None:
    """Refuse a world that the plan was not measured in."""
    run_id = world.run.id if world.run is not None else ""
    if engine is not None and run_id != engine.run_id:
        raise RecordsError(
            f"world.json: is of run {run_id:.80}, engine.json of {engine.run_id:.80}"
        )
    stands_in = world.kind == EMBEDDED and plan.world != OWN  # for Fly, as a world that is up may
    if world.kind != plan.world and not stands_in:
        raise RecordsError(
            f"world.json: kind: {world.kind!r}, but the plan's world is {plan.world!r}: its "
            "links were not measured"
        )
    if missing := [code for code in plan.regions if code not in world.regions]:
        raise RecordsError(f"world.json: regions: the plan's {', '.join(missing)} are missing")
