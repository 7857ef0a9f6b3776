"""Faults of the rows: what no run can have measured, or nobody ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stored import Fault, Stored

from loadtest.records.kinds import ERROR_DROPPED
from loadtest.records.schema import RECORDS, SCHEMA_VERSION
from loadtest.records.writer import write_table

Row = dict[str, Any]
Rows = list[Row]

PHASES = ("queue", "dns", "connect", "tls", "send", "wait", "wait_user", "receive")


def steady(rows: Rows) -> Rows:
    return [row for row in rows if row["stage"] == "steady"]


def each(change: Callable[[Row], None], share: int = 1) -> Callable[[Rows], None]:
    """Change every so-manieth steady row."""

    def edit(rows: Rows) -> None:
        for row in steady(rows)[::share]:
            change(row)

    return edit


def put(name: str, value: Any, share: int = 5) -> Callable[[Rows], None]:
    return each(lambda row: row.__setitem__(name, value), share)


def add(name: str, more: int, share: int = 5) -> Callable[[Rows], None]:
    return each(lambda row: row.__setitem__(name, row[name] + more), share)


def swap(name: str, one: str, other: str) -> Callable[[Rows], None]:
    words = {one: other, other: one}
    return each(lambda row: row.__setitem__(name, words.get(row[name], row[name])))


def without(keep: Callable[[Row], bool]) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if keep(row)]


def twice(rows: Rows) -> Rows:
    return rows + [dict(row) for row in rows[:100]]


def twice_renumbered(rows: Rows) -> Rows:
    last = max(row["row"] for row in rows)
    return rows + [{**row, "row": last + 1 + n} for n, row in enumerate(rows[:100])]


def slow_replaced(rows: Rows) -> None:
    """Copy quick rows over slow ones, in place of their times alone."""
    quick = min(steady(rows), key=lambda row: row["wait_us"])
    for row in sorted(steady(rows), key=lambda row: -row["wait_us"])[:200]:
        row.update({**quick, "row": row["row"], "worker": row["worker"]})


def arrivals_swapped(rows: Rows) -> None:
    first, second = steady(rows)[0], steady(rows)[1]
    first["arrival"], second["arrival"] = second["arrival"], first["arrival"]


def dropped_relabelled(rows: Rows) -> None:
    for row in steady(rows)[:3]:
        row.update(error=ERROR_DROPPED, start_us=-1, status=0)


WITH_ROWS: tuple[tuple[str, Callable[[Rows], Rows | None], str], ...] = (
    *((f"{p}_us below zero", put(f"{p}_us", -1), f"{p}_us") for p in PHASES),
    ("all waits below zero", put("wait_us", -1, 1), "wait_us"),
    ("bytes below zero", put("bytes", -1), "bytes"),
    ("no attempt", put("attempts", 0), "attempts"),
    ("attempts below zero", put("attempts", -1), "attempts"),
    ("status below zero", put("status", -1), "status"),
    ("status beyond HTTP", put("status", 1_000), "a status that HTTP does not have"),
    ("success without a status", put("status", 0), "a success without an answer"),
    ("row below zero", put("row", -1), "row"),
    ("round trips below -1", put("db_round_trips", -2), "db_round_trips"),
    ("database time below -1", put("db_us", -2), "db_us"),
    ("app time below -1", put("app_us", -2), "app_us"),
    ("arrival below -1", put("arrival", -2), "arrival"),
    ("block below -1", put("block", -2), "block"),
    ("block -1 of an arrival", put("block", -1), "an arrival of no block"),
    ("program before kernel", put("wait_user_us", 0), "before the kernel had it"),
    ("unknown region", put("region", "zzz"), "an unknown region"),
    ("unknown stage", put("stage", "cool-down"), "an unknown stage"),
    ("unknown error", put("error", "gremlins"), "an unknown error"),
    ("unknown clock", put("clock", "sundial"), "an unknown clock"),
    ("unknown deployment", put("deployment", "other"), "a deployment that the plan"),
    ("empty deployment", put("deployment", ""), "a deployment that the plan"),
    ("unknown worker", put("worker", "other"), "a worker that left no account"),
    ("rows of another region", swap("region", "cdg", "ord"), "a region that"),
    ("cells swapped", swap("deployment", "single", "multi"), "another deployment"),
    ("one cell's rows given away", put("deployment", "replica", 1), "another deployment"),
    ("a fifth of the rows relabelled", put("deployment", "replica"), "another deployment"),
    ("warm-up relabelled steady", lambda rows: [row | {"stage": "steady"} for row in rows],
     "another stage"),
    ("steady relabelled warm-up", put("stage", "warm-up"), "a block of two stages"),
    ("all steady relabelled warm-up", put("stage", "warm-up", 1), "another stage"),
    ("due before the run", put("intended_us", -1), "an arrival before the run"),
    ("due moved by a second", add("intended_us", 1_000_000), "before it was due"),
    ("due moved by a microsecond", add("intended_us", 1), "intended_us"),
    ("start before due", add("start_us", -2_000_000), "a start before it was due"),
    ("start long after due", add("start_us", 2_000_000), "is not from due to start"),
    ("start an hour later", add("start_us", 3_600_000_000), "is not from due to start"),
    ("a queue that is not from due to start", add("queue_us", 2_000_000), "from due to start"),
    ("due two thousand seconds later", add("intended_us", 2_000_000_000), "before it was due"),
    ("a wait longer than any run", put("wait_us", 2**31 - 1), "before the kernel"),
    ("block of another moment", add("block", 1), "block"),
    ("block far beyond the run", put("block", 10_000), "a block that was not ordered"),
    ("all in one block", put("block", 10, 1), "a block"),
    ("arrival not scheduled", add("arrival", 1_000_000), "was not scheduled"),
    ("arrival of another segment", add("arrival", 1 << 40), "was not ordered"),
    ("arrivals swapped", arrivals_swapped, "than the schedule gives"),
    ("rows twice", twice, "a row that is there twice"),
    ("rows twice under new numbers", twice_renumbered, "rows sent"),
    ("half of the rows gone", lambda rows: rows[::2], "rows sent"),
    ("one row gone", lambda rows: rows[1:], "rows sent"),
    ("the last row gone", lambda rows: rows[:-1], "rows sent"),
    ("slow rows gone", without(lambda row: row["wait_us"] < 150_000), "rows sent"),
    ("failed rows gone and times copied", slow_replaced, "arrivals are in the records"),
    ("a region gone", without(lambda row: row["region"] != "ord"), "ord"),
    ("a cell gone", without(lambda row: row["deployment"] != "multi"), "multi"),
    ("steady stage gone", without(lambda row: row["stage"] != "steady"), "steady"),
    ("all rows gone", lambda _rows: [], "no row in the steady stage"),
    ("successes relabelled dropped", dropped_relabelled, "says that it dropped 0 arrivals"),
    ("a dropped arrival that began", put("error", ERROR_DROPPED), "a start of what was dropped"),
    ("the generator had no port left", put("error", "generator", 100), "of the generating machine"),
    ("every answer resent", put("attempts", 2, 1), "sent a second time"),
    ("every answer late", lambda rows: [
        row | {"queue_us": row["queue_us"] + 50_000, "start_us": row["start_us"] + 50_000}
        for row in rows], "after their intended start"),
    ("every answer on a connection that took no time", put("reused", False, 1), "new connection"),
    ("a connection that was open and opened", put("connect_us", 900), "an open connection"),
)  # fmt: skip


def records() -> Iterator[Fault]:
    """Yield faults of rows, and of the file that holds them."""
    for name, change, told in WITH_ROWS:
        yield Fault(f"records: {name}", _with(change), told)
    for field in RECORDS:
        yield Fault(f"records: without column {field.name}", _without(field.name), field.name)
        if not pa.types.is_dictionary(field.type):
            yield Fault(f"records: column {field.name} is text", _as_text(field.name), field.name)
        yield Fault(f"records: column {field.name} has no value", _null(field.name), "missing")
    yield Fault("records: a column twice", _twice, "there more than once")
    yield Fault("records: columns in another order", _turned, "", frozenset({"pass"}))
    yield Fault(
        "records: rows in another order",
        _with(lambda rows: rows[::-1]),
        "",
        frozenset({"pass"}),
    )
    yield Fault(
        "records: a column's name is no UTF-8",
        lambda stored: stored.bytes(
            "records.parquet", lambda data: data.replace(b"stat", b"st\xf4t")
        ),
        "cannot be read",
    )
    for version in (b"0", b"1", b"%d" % (SCHEMA_VERSION + 1), b"", b"two", b"\xff"):
        yield Fault(f"records: schema {version!r}", _version(version), "schema")
    yield Fault("records: no schema version", _version(None), "schema none")


def _with(change: Callable[[Rows], Rows | None]) -> Callable[[Stored], None]:
    return lambda stored: stored.rows(change)


def _edited(change: Callable[[pa.Table], pa.Table]) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        path = stored.folder / "records.parquet"
        table = change(pq.read_table(path))
        path.unlink()
        pq.write_table(table, path)

    return bend


def _without(name: str) -> Callable[[Stored], None]:
    return _edited(lambda table: table.drop_columns([name]))


def _as_text(name: str) -> Callable[[Stored], None]:
    def change(table: pa.Table) -> pa.Table:
        words = pa.array([str(value) for value in table[name].to_pylist()])
        return table.set_column(table.schema.get_field_index(name), name, words)

    return _edited(change)


def _null(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        path = stored.folder / "records.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[5][name] = None
        path.unlink()
        write_table(path, [pa.Table.from_pylist(rows, RECORDS)])

    return bend


def _version(version: bytes | None) -> Callable[[Stored], None]:
    metadata = {} if version is None else {b"loadtest_schema": version}
    return _edited(lambda table: table.replace_schema_metadata(metadata))


_twice = _edited(lambda table: table.append_column("wait_us", table["wait_us"]))
_turned = _edited(lambda table: table.select(table.column_names[::-1]))
