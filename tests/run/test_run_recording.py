"""Record parts on their way into the run folder: whole, once, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import EngineError, RecordsError
from loadtest.records.load_status import RecordPart
from loadtest.run.coordinator import CoordinatorClient
from loadtest.run.recording import PartStore


class Parts(CoordinatorClient):
    """A coordinator that has what it is given."""

    def __init__(self, **content: bytes) -> None:
        self.content = {name.replace("_", "."): data for name, data in content.items()}
        self.asked: list[str] = []

    def parts(self, run_id: str) -> tuple[RecordPart, ...]:
        return tuple(RecordPart(name) for name in self.content)

    def part(self, run_id: str, name: str) -> bytes:
        self.asked.append(name)
        if self.content[name] == b"gone":
            raise EngineError("the coordinator is gone")
        return self.content[name]


def test_new_parts_are_fetched_once_and_in_order(tmp_path: Path) -> None:
    source = Parts(a_parquet=b"1", b_parquet=b"2")
    store = PartStore(source, "r1", tmp_path / "run" / "parts")
    assert store.fetch_new() == 2
    source.content["c.parquet"] = b"3"
    assert store.fetch_new() == 3
    assert source.asked == ["a.parquet", "b.parquet", "c.parquet"]
    written = sorted((tmp_path / "run" / "parts").iterdir())
    assert [path.read_bytes() for path in written] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "name", ["../x.parquet", "/tmp/x.parquet", "a/b.parquet", "x.txt", "..", ""]
)
def test_a_name_that_leads_elsewhere_is_not_written(name: str, tmp_path: Path) -> None:
    source = Parts()
    source.content = {name: b"1"}
    store = PartStore(source, "r1", tmp_path / "parts")
    assert store.fetch_new() == 0
    assert source.asked == []
    assert list(tmp_path.rglob("*")) == []


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    source = Parts(a_parquet=b"1", b_parquet=b"gone")
    store = PartStore(source, "r1", tmp_path)
    with pytest.raises(EngineError):
        store.fetch_new()
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    source.content["b.parquet"] = b"2"
    assert store.fetch_new() == 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file stands in the way")
    with pytest.raises(RecordsError, match=r"a\.parquet: cannot be written: "):
        PartStore(Parts(a_parquet=b"1"), "r1", tmp_path / "parts").fetch_new()
