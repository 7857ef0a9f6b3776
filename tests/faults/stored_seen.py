"""Faults of what world and workers saw: thinned, cut in time, better summed up than it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stored import Fault, Stored
from stored_forged import counted
from stored_records import Rows, steady

from loadtest.records.schema import RECORDS
from loadtest.records.writer import write_table

Content = dict[str, Any]
SAME = frozenset({"pass"})


def seen() -> Iterator[Fault]:
    """Yield every fault of what was seen, and forms of a file that say the same."""
    for name, watch, told in WATCHED:
        yield Fault(f"seen: {name}", _in_watch(watch), told)
    for name, worker, told in WORKED:
        yield Fault(f"seen: {name}", _in_worker(worker), told)
    for name, bend, told in FILES:
        yield Fault(f"seen: {name}", bend, told)
    for name, bend in ALIKE:
        yield Fault(f"seen: {name}", bend, "", SAME)


def _in_watch(change: Callable[[Content], None]) -> Callable[[Stored], None]:
    return lambda stored: stored.edit("world.json", lambda world: change(world["watch"]))


def _in_worker(change: Callable[[Content], None]) -> Callable[[Stored], None]:
    return lambda stored: stored.edit("engine.json", lambda engine: change(engine["workers"][0]))


def _pings(
    keep: Callable[[int, int], bool], only: str = "", last: bool = False
) -> Callable[[Content], None]:
    """Keep the pings whose number and moment are given to ``keep``, and perhaps the last one."""

    def change(watch: Content) -> None:
        for pair in watch["pairs"]:
            if only in f"{pair['from']}-{pair['to']}":
                told = list(zip(pair["sent_ms"], pair["rtt_us"], strict=True))
                kept = [ping for n, ping in enumerate(told) if keep(n, ping[0])]
                kept += told[-1:] if last else []
                pair.update(sent_ms=[ms for ms, _ in kept], rtt_us=[us for _, us in kept])

    return change


def _every(n: int) -> Callable[[int, int], bool]:
    return lambda number, _ms: number % n == 0


def _at_one_moment(watch: Content) -> None:
    for pair in watch["pairs"]:
        pair["sent_ms"] = [pair["sent_ms"][30]] * len(pair["sent_ms"])


def _lost(every: int) -> Callable[[Content], None]:
    def change(watch: Content) -> None:
        for pair in watch["pairs"]:
            pair["rtt_us"] = [None if n % every == 0 else us for n, us in enumerate(pair["rtt_us"])]

    return change


def _moments(which: slice) -> Callable[[Content], None]:
    return lambda watch: watch.update(moments=watch["moments"][which])


def _moment(change: Content) -> Callable[[Content], None]:
    return lambda watch: watch["moments"][9].update(change)


def _process(change: Content, number: int = 0) -> Callable[[Content], None]:
    return lambda watch: watch["processes"][number].update(change)


def _event(change: Content, count: int = 1) -> Callable[[Content], None]:
    event = {"t_ms": 9_000, "app": "recipes-db", "region": "cdg", "machine": "m", "event": "exit",
             "asked": False, "exit_code": 137, "restarting": True}  # fmt: skip
    told = [{**event, "t_ms": 9_000 - n, **change} for n in range(count)]
    return lambda watch: watch.update(machine_events=told)


WATCHED: tuple[tuple[str, Callable[[Content], None], str], ...] = (
    *((f"one ping in {n}", _pings(_every(n)), "lacks pings of the link") for n in (2, 3, 5, 10)),
    *((f"one ping in {n} of one pair", _pings(_every(n), "cdg-ord"), "of the link cdg-ord")
      for n in (2, 5, 60)),
    ("one ping in 30, as if so many were due", _pings(_every(30)), "the link"),
    ("the first ping and the last", _pings(lambda n, _ms: n == 0, last=True), "the link"),
    ("two seconds of pings and the last", _pings(lambda n, _ms: n < 5, last=True), "the link"),
    ("pings before the load alone", _pings(lambda _n, ms: ms < 1_000), "the link"),
    ("pings of the load's first half", _pings(lambda _n, ms: ms < 18_000), "silence"),
    ("all pings at one moment", _at_one_moment, "silence"),
    ("every second ping lost", _lost(2), "out of tolerance"),
    ("every third ping lost", _lost(3), "Stalls of more than"),
    ("no region pinged itself", lambda w: w.update(
        pairs=[p for p in w["pairs"] if p["from"] != p["to"]]), "lacks its links"),
    *((f"one moment in {n}", _moments(slice(None, None, n)), "the world")
      for n in (2, 4, 5, 10)),
    ("moments of the load's first half", _moments(slice(None, 17)), "of the world"),
    ("no moments", _moments(slice(0)), "of the world"),
    ("a process that was looked at once", _process({"n": 1}), "looks at its links: 1 of"),
    ("a world that was looked at once", _process({"n": 1}, 1), "looks at its world: 1 of"),
    ("a process that was never late, in seconds that were",
     _process({"late_p50_us": 0, "late_p99_us": 0, "late_max_us": 0}), "than its moments"),
    ("a process later than in any second", _process({"late_max_us": 2_000_000}),
     "than its moments"),
    ("a process later at p99 than in any second",
     _process({"late_p99_us": 1_500, "late_max_us": 1_900}), "than its moments"),
    ("a second later than its process ever",
     _moment({"links_late_p99_us": 9_000, "links_late_max_us": 90_000}), "than its moments"),
    ("a second of the world later than its process ever",
     _moment({"world_late_max_us": 90_000}), "than its moments"),
    ("an event that no machine has", _event({"event": "gremlin"}), "is none of exit, start"),
    ("an event after the watch", _event({"t_ms": 86_400_000}), "goes on after the watch"),
    ("events that run backwards", _event({}, 2), "machine_events: runs backwards"),
    ("a database that ended", _event({}), "Ended by themselves"),
    ("a database that ended of what nobody knows", _event({"exit_code": None}),
     "Ended by themselves"),
    ("a fault that began after the watch", lambda w: w.update(faults=[
        {"what": "x", "began_ms": 86_400_000, "ended_ms": None, "pairs": [], "machines": []}]),
     "began after the watch"),
)  # fmt: skip


def _told_each_second(key: str, value: float) -> Callable[[Content], None]:
    def change(worker: Content) -> None:
        for moment in worker["timeline"]:
            moment[key] = value

    return change


WORKED: tuple[tuple[str, Callable[[Content], None], str], ...] = (
    ("a core that was busy each second, and was not", _told_each_second("cpu_share", 1.0),
     "used of its core 100%"),
    ("a core that was busy in one second, and was not",
     lambda w: w["timeline"][3].update(cpu_share=1.0), "100% at most"),
    ("a host that took the machine each second, and did not",
     _told_each_second("steal_share", 0.9), "lost to the host 90%"),
    ("a host that took more than all", lambda w: w["health"].update(steal_share_max=2),
     "steal_share_max: 2"),
    ("a loop that woke late each second, and did not",
     _told_each_second("loop_lag_p99_us", 1_000_000), "woke late"),
    ("seconds told in the first half alone", lambda w: w.update(
        timeline=w["timeline"][: len(w["timeline"]) // 2]), "told nothing of itself"),
    ("one second told in six", lambda w: w.update(timeline=w["timeline"][::3]),
     "told nothing of itself"),
    ("the first second told and the last", lambda w: w.update(
        timeline=[w["timeline"][0], w["timeline"][-1]]), "told nothing of itself"),
    *((f"{key} just beyond its limit", lambda w, k=key, v=value: w["health"].update({
        k: v, k.replace("mean", "max").replace("p99", "max").replace("max_us", "max_us"): v}), told)
      for key, value, told in (
          ("cpu_share_mean", math.nextafter(0.9, 1), "used of its core"),
          ("steal_share_mean", math.nextafter(0.1, 1), "the host took"),
          ("loop_lag_p99_us", 25_000.001, "the event loop woke late by (p99): 25.00"),
      )),
    ("garbage collected just beyond its limit", lambda w: w["health"].update(
        gc_pause_max_us=50_000.001, gc_pause_total_us=50_001), "garbage collection"),
    ("retransmits just beyond their limit", lambda w: w["health"].update(
        retransmits=math.floor(w["health"]["segments_sent"] / 100) + 1), "sent again"),
    ("a clock just too uncertain", lambda w: w["clock"].update(uncertainty_us=10_000.001),
     "uncertain"),
)  # fmt: skip


def _stamped_by_the_program(share: int) -> Callable[[Stored], None]:
    """The limit of a loop that stamps itself is a fifth of the other's."""

    def bend(stored: Stored) -> None:
        stored.rows(lambda rows: [
            row | ({"clock": "user"} if n % share == 0 else {}) for n, row in enumerate(rows)
        ])  # fmt: skip
        _in_worker(lambda w: w["health"].update(loop_lag_p99_us=6_000, loop_lag_max_us=9_000))(
            stored
        )

    return bend


def _long_names(rows: Rows) -> None:
    for row in rows:
        row["name"] = "A" * 1_000_000


def _rows(change: Callable[[Rows], Rows | None]) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        stored.rows(change)
        counted(stored)

    return bend


def _shifted(blocks: int) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in steady(rows):
            row["block"] += blocks
            row["intended_us"] += 1_000_000 * blocks
            row["start_us"] += 1_000_000 * blocks

    return change


def _blocks_swapped(rows: Rows) -> None:
    other = {10: 20, 20: 10}
    for row in rows:
        by = other.get(row["block"], row["block"]) - row["block"]
        row.update(block=row["block"] + by, intended_us=row["intended_us"] + by * 1_000_000,
                   start_us=row["start_us"] + by * 1_000_000)  # fmt: skip


def _one_region_twice(rows: Rows) -> Rows:
    mine = [row for row in rows if row["region"] == "cdg"]
    return mine + [row | {"region": "ord", "worker": "ord-0"} for row in mine]


def _many_rows(stored: Stored) -> None:
    """A megabyte that is millions of equal rows once it is read."""
    path = stored.folder / "records.parquet"
    row = pq.read_table(path).slice(0, 1)
    million = row.take(pa.array([0] * 1_000_000))
    path.unlink()
    write_table(path, [pa.Table.from_batches(million.to_batches(), RECORDS)] * 2)


def _wait_as(kind: pa.DataType) -> Callable[[Stored], None]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("wait_us")
        values = table["wait_us"]
        if kind not in (pa.string(), pa.float64()):
            values = values.cast(pa.int64())
        return table.set_column(place, pa.field("wait_us", kind), values.cast(kind))

    return _table(change)


def _table(change: Callable[[pa.Table], pa.Table], **how: Any) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        path = stored.folder / "records.parquet"
        table = change(pq.read_table(path))
        path.unlink()
        pq.write_table(table, path, **how)

    return bend


def _text(name: str, change: Callable[[bytes], bytes]) -> Callable[[Stored], None]:
    return lambda stored: stored.bytes(name, change)


def _numbers(name: str, change: Callable[[Any], Any]) -> Callable[[Stored], None]:
    """Let a function change every number of a file but its schema."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return change(value) if number else value

    return lambda stored: stored.edit(name, lambda c: {**walk(c), "schema": c["schema"]})


JSON = ("plan.json", "world.json", "engine.json")

FILES: tuple[tuple[str, Callable[[Stored], None], str], ...] = (
    ("rows stamped by the program, a loop late for that", _stamped_by_the_program(1), "5 ms"),
    ("some rows stamped by the program, a loop late for that", _stamped_by_the_program(20), "5 ms"),
    ("a name of a million letters", _rows(_long_names), "a word of more than"),
    ("two million equal rows", _many_rows, "far more than the workers sent"),
    *((f"shifted by {n} whole blocks", _rows(_shifted(n)), "block") for n in (1, -1, 5)),
    ("two blocks swapped, moments and all", _rows(_blocks_swapped), "another block"),
    ("one region's rows under the other's name", _rows(_one_region_twice), "another deployment"),
    *((f"waits as {kind}", _wait_as(kind), f"wait_us is {kind}")
      for kind in (pa.int64(), pa.float64(), pa.string(), pa.duration("us"), pa.timestamp("us"),
                   pa.timestamp("ns"), pa.decimal128(24, 3))),
    ("columns in capitals", _table(lambda t: t.rename_columns([n.upper() for n in t.column_names])),
     "worker"),
    ("no row", _table(lambda t: t.slice(0, 0)), "0 stored"),
    *((f"{name}: {how}", _text(name, change), told) for name in JSON for how, change, told in (
        ("a byte-order mark", lambda d: b"\xef\xbb\xbf" + d, "BOM"),
        ("UTF-16", lambda d: d.decode().encode("utf-16"), "utf-8"),
        ("UTF-32", lambda d: d.decode().encode("utf-32"), "utf-8"),
        ("twice", lambda d: d + d, "Extra data"),
        ("a zero at its end", lambda d: d + b"\0", "Extra data"),
        ("a key that is half a letter", lambda d: b'{"\\ud800": 1, ' + d.lstrip()[1:], ""),
        ("nested 900 deep", lambda d: b'{"x": ' + b"[" * 900 + b"]" * 900 + b", "
         + d.lstrip()[1:], "x"),
    )),
    *((f"{name}: all numbers {how}", _numbers(name, change), "") for name in JSON
      for how, change in (("as text", str), ("below zero", lambda v: -v - 1),
                          ("too large", lambda _v: 1e308), ("of 62 bits", lambda _v: 2**62))),
    *((f"{name}: in capitals", lambda s, n=name: (s.folder / n).rename(s.folder / n.upper()), name)
      for name in JSON),
)  # fmt: skip

ALIKE: tuple[tuple[str, Callable[[Stored], None]], ...] = (
    *((f"packed as {how}", _table(lambda t: t, compression=how))
      for how in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")),
    ("without dictionaries", _table(lambda t: t, use_dictionary=False)),
    ("in pages of version 2", _table(lambda t: t, data_page_version="2.0")),
    ("in pages of 16 bytes", _table(lambda t: t, data_page_size=16)),
    ("a group for each row", _table(lambda t: t, row_group_size=1)),
    ("differences of waits", _table(lambda t: t, use_dictionary=False,
                                    column_encoding={"wait_us": "DELTA_BINARY_PACKED"})),
    ("one column more", _table(lambda t: t.append_column("more", pa.nulls(len(t))))),
    *((f"{name}: other line ends", _text(name, lambda d: d.replace(b"\n", b"\r\n")))
      for name in JSON),
    *((f"{name}: much space at its end", _text(name, lambda d: d + b" " * 5_000_000))
      for name in JSON),
    *((f"{name}: zeros with a sign", _numbers(name, lambda v: -0.0 if v == 0 else v))
      for name in JSON[1:]),
)  # fmt: skip
