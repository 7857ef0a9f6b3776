"""Records on disk: columns come back as they went, damage and foreign versions are refused."""

from __future__ import annotations

import fcntl
import json
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtest.errors import RecordsError
from loadtest.records.batch import Batch, decode_batches, text_array
from loadtest.records.folder import RunFolder
from loadtest.records.layout import CODED, COLUMNS, FLAGS, ROW, WIDTHS, offset_of
from loadtest.records.reader import open_records, read_records
from loadtest.records.schema import RECORDS
from loadtest.records.summary import live_cells
from loadtest.records.writer import PartWriter, write_table

WORDS = {
    "name": ["GET /recipes", "POST /recipes"],
    "served_by": ["", "cdg", "syd"],
    "deployment": ["single", "replica"],
    "scenario": ["recipes"],
    "stage": ["warm-up", "steady"],
    "error": ["", "dropped", "status"],
    "clock": ["kernel", "user"],
    "protocol": ["1.1", "2"],
}


def columns(rows: int, seed: int = 1) -> dict[str, bytes]:
    """Return columns of a plain steady load with believable jitter."""
    draw = random.Random(seed)
    values: dict[str, list[int]] = {
        "arrival": list(range(rows)),
        "intended_us": [number * 1_000 for number in range(rows)],
        "start_us": [number * 1_000 + draw.randrange(20, 90) for number in range(rows)],
        "queue_us": [draw.randrange(20, 90) for _ in range(rows)],
        "send_us": [draw.randrange(15, 40) for _ in range(rows)],
        "wait_us": [46_000 + int(draw.gauss(0, 150)) for _ in range(rows)],
        "wait_user_us": [46_040 + int(draw.gauss(0, 150)) for _ in range(rows)],
        "receive_us": [draw.randrange(0, 60) for _ in range(rows)],
        "block": [number // 1_000 for number in range(rows)],
        "deployment": [draw.randrange(2) for _ in range(rows)],
    }
    constant = {"bytes": 1_200, "status": 200, "stage": 1, "reused": 1, "cold": 0, "attempts": 1}
    constant |= {"served_by": 1, "db_round_trips": 2, "db_us": -1, "app_us": -1}
    encoded = {}
    for name, code in COLUMNS.items():
        column = values.get(name, [constant.get(name, 0)])
        signed = code != "B"
        encoded[name] = b"".join(v.to_bytes(WIDTHS[name], "little", signed=signed) for v in column)
    return encoded


def raw(rows: int = 100, first: int = 0, **changes: Any) -> Batch:
    given: dict[str, Any] = {"columns": columns(rows), "words": WORDS, **changes}
    return Batch("w1", "syd", first, rows, **given)


def batch(rows: int = 100, first: int = 0, **changes: Any) -> pa.RecordBatch:
    return decode_batches([raw(rows, first, **changes)])[0]


def test_the_layout_covers_the_schema() -> None:
    """Every column of the records travels, but the three that the batch itself says."""
    assert set(COLUMNS) == set(RECORDS.names) - {"worker", "region", "row"}
    assert set(CODED) == {f.name for f in RECORDS if pa.types.is_dictionary(f.type)} - {
        "worker",
        "region",
    }
    assert set(FLAGS) == {f.name for f in RECORDS if pa.types.is_boolean(f.type)}
    assert ROW.size % 8 == 0
    assert all(offset_of(name) % WIDTHS[name] == 0 for name in COLUMNS)


def test_a_batch_becomes_rows_of_the_schema() -> None:
    rows = batch(3, first=40).to_pylist()
    assert [row["row"] for row in rows] == [40, 41, 42]
    assert rows[0]["name"] == "GET /recipes"
    assert (rows[0]["served_by"], rows[0]["stage"], rows[0]["reused"]) == ("cdg", "steady", True)
    assert batch(3).schema.equals(RECORDS, check_metadata=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {**columns(100), "wait_us": b"\0" * 7}}, "wait_us"),
        ({"columns": {k: v for k, v in columns(100).items() if k != "block"}}, "block"),
        ({"columns": {**columns(100), "deployment": b"\x09"}}, "w1"),
        ({"columns": {**columns(100), "name": b"\xff\xff"}}, "w1"),
        ({"words": {**WORDS, "stage": [1, 2]}}, "w1"),
        ({"words": {**WORDS, "stage": ["\ud800"]}}, "w1"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecordsError, match=words):
        batch(100, **change)


def test_batches_of_a_worker_are_joined_while_their_words_agree() -> None:
    """Words that were only added to keep their codes; other words begin a new table."""
    more = {**WORDS, "name": [*WORDS["name"], "GET /"]}
    other = {**WORDS, "served_by": ["", "nrt", "cdg"]}
    joined = decode_batches(
        [raw(10), raw(20, first=10, words=more), raw(5, first=30, words=other), raw(5, first=35)]
    )
    assert [part.num_rows for part in joined] == [30, 5, 5]
    assert joined[0]["row"].to_pylist() == list(range(30))
    assert [part["served_by"][0].as_py() for part in joined] == ["cdg", "nrt", "cdg"]


def test_text_arrays_hold_any_text() -> None:
    words = ["", "a", "São Paulo", "漢字"]
    assert text_array(words).to_pylist() == words
    assert text_array([]).to_pylist() == []


def test_parts_never_change_and_merge_to_the_whole(tmp_path: Path) -> None:
    """Words of later batches, new ones among them, survive the merge."""
    writer = PartWriter()
    writer.add(raw(100))
    writer.flush()
    first = writer.parts[0].read()
    other = {**WORDS, "served_by": ["", "nrt", "cdg"]}
    writer.add(raw(50, first=100))
    writer.add(raw(50, first=150, words=other))
    writer.flush()
    assert writer.flush() is None
    assert writer.parts[0].read() == first
    assert [part.rows for part in writer.parts] == [100, 100]

    folder = RunFolder.create(tmp_path / "run")
    for part in writer.parts:
        (folder.parts / part.name).write_bytes(part.read())
    writer.close()
    assert folder.merge_parts() == 200
    table = read_records(folder.records)
    assert table["row"].to_pylist() == list(range(200))
    served = table["served_by"].to_pylist()
    assert (served[0], served[120], served[170]) == ("cdg", "cdg", "nrt")
    assert not (folder.path / "parts").exists()
    assert pq.ParquetFile(folder.records).num_row_groups == 1


def test_a_run_without_rows_has_a_file_of_no_rows(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path)
    assert folder.merge_parts() == 0
    assert read_records(folder.records).num_rows == 0


def test_plain_rows_take_at_most_twelve_bytes(tmp_path: Path) -> None:
    """The encodings, not the compression level, make the file small."""
    rows = 100_000
    path = tmp_path / "records.parquet"
    write_table(path, [pa.Table.from_batches([batch(rows)])])
    assert path.stat().st_size / rows <= 12.0


def test_the_first_look_counts_the_steady_stage() -> None:
    mixed = {**columns(100), "stage": bytes([0] * 40 + [1] * 60), "deployment": b"\0"}
    mixed["error"] = bytes([0] * 90 + [2] * 10)
    table = pa.Table.from_batches([batch(100, columns=mixed)])
    ((region, deployment, n, errors, waits),) = live_cells(table)
    assert (region, deployment, n, errors) == ("syd", "single", 60, 10)
    assert sum(waits.values()) == 50


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "version", "column"])
def test_what_cannot_be_read_is_refused_with_a_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "records.parquet"
    table = pa.Table.from_batches([batch(100)])
    write_table(path, [table])
    words = "damaged"
    if damage == "missing":
        path.unlink()
        words = "no such file"
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("not parquet")
    elif damage == "version":
        pq.write_table(table.replace_schema_metadata({"loadtest_schema": "99"}), path)
        words = "record schema 99; this version reads 3"
    else:
        pq.write_table(table.drop_columns(["wait_us"]), path)
        words = "wait_us"
    with pytest.raises(RecordsError, match=words):
        open_records(path)


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_table(path, [pa.Table.from_batches([batch(10)])])
    assert read_records(path, ["row", "wait_us"]).column_names == ["row", "wait_us"]
    with pytest.raises(RecordsError, match="no such record columns: speed"):
        read_records(path, ["speed"])


def test_json_files_are_written_whole_and_checked(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "run")
    folder.save_json("plan.json", {"schema": 1, "name": "x"})
    assert folder.load_json("plan.json")["name"] == "x"
    assert RunFolder.open(folder.path).path == folder.path
    assert [path.name for path in folder.path.iterdir()] == ["plan.json"]
    with pytest.raises(RecordsError, match="schema 1; this version reads 6"):
        folder.save_json("engine.json", {"schema": 1})
    folder.file("engine.json").write_text(json.dumps({"schema": 9}))
    with pytest.raises(RecordsError, match="schema 9"):
        folder.load_json("engine.json")
    folder.file("world.json").write_text("[1, 2")
    with pytest.raises(RecordsError, match="cannot be read"):
        folder.load_json("world.json")
    folder.file("world.json").write_text("[1, 2]")
    with pytest.raises(RecordsError, match="no JSON object"):
        folder.load_json("world.json")
    with pytest.raises(RecordsError, match="did the run finish"):
        folder.load_json("summary.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordsError, match="--out"):
        RunFolder.create(tmp_path / "file" / "run")
    with pytest.raises(RecordsError, match="cannot be written"):
        RunFolder(tmp_path / "gone").save_text("report.md", "x")
    with pytest.raises(RecordsError, match="no such run folder"):
        RunFolder.open(tmp_path / "gone")
    with pytest.raises(RecordsError, match=r"no plan\.json"):
        RunFolder.open(tmp_path)


def test_latest_points_to_the_newest_run(tmp_path: Path) -> None:
    for name in ("run-1", "run-2"):
        RunFolder.create(tmp_path / name).point_latest()
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert stat.S_ISLNK((tmp_path / "latest").lstat().st_mode)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    RunFolder(tmp_path / "run-1").point_latest()
    assert not (tmp_path / "latest").is_symlink()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["plan.json", "parts/thesis.txt", "summary.json", "notes"])
def test_a_folder_of_somebody_else_is_never_a_run_folder(tmp_path: Path, name: str) -> None:
    """Their plan.json, their parts: neither overwritten nor removed."""
    path = tmp_path / "theirs"
    file = path / name
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 1, "rooms": 4}')
    with pytest.raises(RecordsError, match="holds something else than a run"):
        RunFolder.claim(path)
    assert file.read_text() == '{"schema": 1, "rooms": 4}'


def test_a_folder_is_one_runs_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = RunFolder.claim(path)
    with pytest.raises(RecordsError, match="another run is under way"):
        RunFolder.claim(path)
    first.save_text("report.md", "one")
    first.release()
    second = RunFolder.claim(path)
    assert (path / "report.md").read_text() == "one", "an earlier run's files stay until clear"
    second.clear()
    assert not (path / "report.md").exists()
    second.release()
    assert list(path.iterdir()) == [], "nothing came of it, and it was there before"
    third = RunFolder.claim(tmp_path / "new" / "run")
    third.release()
    assert not third.path.exists(), "nothing came of it"


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Whatever ended it: the kernel lets go, so a killed run blocks nobody."""
    program = (
        "import sys, pathlib; from loadtest.records.folder import RunFolder\n"
        "folder = RunFolder.claim(pathlib.Path(sys.argv[1])); print('mine', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(RecordsError, match="another run is under way"):
            RunFolder.claim(tmp_path / "run")
        other.kill()
    RunFolder.claim(tmp_path / "run").release()


def test_a_mark_that_was_taken_away_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run came to nothing in that moment; two runs must not both think it theirs."""
    path = tmp_path / "run"
    real, taken = fcntl.flock, [path / ".loadtest"]

    def flock(file: Any, how: int) -> None:
        real(file, how)
        while taken:
            taken.pop().unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = RunFolder.claim(path)
    with pytest.raises(RecordsError, match="another run is under way"):
        RunFolder.claim(path)
    folder.release()


def test_clearing_removes_what_runs_write_and_follows_no_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "00001.parquet").write_text("theirs")
    folder = RunFolder.claim(tmp_path / "run")
    folder.parts.rmdir()
    (folder.path / "parts").symlink_to(theirs)
    folder.clear()
    assert (theirs / "00001.parquet").exists()
    for name in ("00001.parquet", ".00002.parquet", "notes.txt"):
        (folder.parts / name).write_text("")
    folder.clear()
    assert [path.name for path in folder.parts.iterdir()] == ["notes.txt"]
    folder.release()


def test_a_mark_that_is_a_link_marks_no_run(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".loadtest").symlink_to(tmp_path / "theirs")
    with pytest.raises(RecordsError, match="holds something else than a run"):
        RunFolder.claim(tmp_path / "run")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("theirs")
    with pytest.raises(RecordsError, match="--out"):
        RunFolder.claim(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "theirs"


def test_a_run_of_an_earlier_version_is_known_by_its_plan(tmp_path: Path) -> None:
    plan = {"schema": 1, "regions": [], "deployments": [], "load": {}, "network": {}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    RunFolder.claim(tmp_path).release()
    assert (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("name", ["", "."])
def test_no_name_is_no_folder(name: str) -> None:
    with pytest.raises(RecordsError, match="names no run folder"):
        RunFolder.claim(Path(name))
