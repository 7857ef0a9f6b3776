"""Faults of the folder and its files: torn, flipped, swapped, linked, not to be read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator

from stored import Fault, Stored

SEAL = "not as it was when the run was sealed"
FILES = ("plan.json", "world.json", "engine.json", "records.parquet")
"""What every run has; a few have more."""
JSON = ("plan.json", "world.json", "engine.json")


def files() -> Iterator[Fault]:
    """Yield faults of whole files."""
    for name in FILES:
        yield from _torn(name)
        yield from _placed(name)
    yield from _mixed()
    yield Fault("no manifest.json", _remove("manifest.json"), "never sealed", sealed=False)
    yield Fault("no plan.json, sealed again", _remove("plan.json"), "not a complete run")
    yield Fault("no world.json, sealed again", _remove("world.json"), "not a complete run")
    yield Fault("no engine.json, sealed again", _remove("engine.json"), "left no account")
    yield Fault("no records, sealed again", _remove("records.parquet"), "is missing")
    yield Fault("an empty folder", _empty, "no", sealed=False)
    yield Fault("a file more in the folder", _file_more, "", frozenset({"pass"}), sealed=False,
                noted="all")  # fmt: skip


def flips(count: int = 40) -> Iterator[Fault]:
    """Yield bits that flip, evenly over every measured file and the manifest."""
    for name in (*FILES, "manifest.json"):
        for number in range(count):
            yield Fault(
                f"bit flip {number} of {count} in {name}",
                _flip(name, (number + 0.5) / count, number % 8),
                "manifest.json",
                sealed=False,
            )


def resealed_flips(count: int = 60) -> Iterator[Fault]:
    """Yield bits that flip in the rows' file where the seal does not notice: Parquet's sums do."""
    for number in range(count):
        yield Fault(
            f"bit flip {number} of {count} in records.parquet, sealed again",
            _flip("records.parquet", (number + 0.5) / count, number % 8),
            "",
            frozenset({"refused", "invalid", "pass"}),
        )


def _torn(name: str) -> Iterator[Fault]:
    cuts: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _data: b"",
        "cut in half": lambda data: data[: len(data) // 2],
        "short of a byte": lambda data: data[:-2],
        "without its head": lambda data: data[10:],
        "zeros": lambda data: bytes(len(data)),
        "twice": lambda data: data + data,
        "not UTF-8": lambda data: b"\xff\xfe" + data,
    }
    for how, cut in cuts.items():
        for sealed in (False, True):
            again = ", sealed again" if sealed else ""
            told = "" if sealed else SEAL
            if (name, how, sealed) == ("records.parquet", "twice", True):
                continue  # is a good Parquet file: the second footer tells of the second half
            yield Fault(f"{name}: {how}{again}", _cut(name, cut), told, sealed=sealed)
    yield Fault(f"{name}: removed", _remove(name), "", sealed=False)


def _placed(name: str) -> Iterator[Fault]:
    yield Fault(f"{name}: of another run", _swap(name), SEAL, sealed=False)
    yield Fault(f"{name}: of another run, sealed again", _swap(name), "")
    yield Fault(f"{name}: a folder", _folder(name), "", sealed=False)
    yield Fault(f"{name}: a broken link", _link(name, "nowhere"), "", sealed=False)
    yield Fault(f"{name}: a link to itself", _link(name, name), "", sealed=False)
    yield Fault(f"{name}: a link to a device", _link(name, "/dev/null"), "", sealed=False)
    if name in JSON:
        for odd in (
            "null",
            "[]",
            "7",
            '"x"',
            "{}",
            "[" * 50_000,
            '{"schema": ' + "9" * 5_000 + "}",
        ):
            yield Fault(f"{name}: {odd[:20]}", _write(name, odd.encode()), "")


def _mixed() -> Iterator[Fault]:
    yield Fault("plan and engine of another run", _both("plan.json", "engine.json"), "")
    yield Fault("plan and world of another run", _both("plan.json", "world.json"), "")
    yield Fault("engine and records of another run", _both("engine.json", "records.parquet"), "")
    yield Fault("manifest of another run", _swap("manifest.json"), "not as it was", sealed=False)


def _cut(name: str, cut: Callable[[bytes], bytes]) -> Callable[[Stored], None]:
    return lambda stored: stored.bytes(name, cut)


def _write(name: str, data: bytes) -> Callable[[Stored], None]:
    return lambda stored: stored.bytes(name, lambda _data: data)


def _remove(name: str) -> Callable[[Stored], None]:
    return lambda stored: (stored.folder / name).unlink()


def _swap(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        shutil.copyfile(stored.other / name, stored.folder / name)

    return bend


def _both(*names: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        for name in names:
            shutil.copyfile(stored.other / name, stored.folder / name)

    return bend


def _folder(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        (stored.folder / name).unlink()
        (stored.folder / name).mkdir()

    return bend


def _link(name: str, target: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        (stored.folder / name).unlink()
        os.symlink(target, stored.folder / name)

    return bend


def _flip(name: str, place: float, bit: int) -> Callable[[Stored], None]:
    def flip(data: bytes) -> bytes:
        flipped = bytearray(data)
        flipped[int(place * len(data))] ^= 1 << bit
        return bytes(flipped)

    return _cut(name, flip)


def _empty(stored: Stored) -> None:
    for path in stored.folder.iterdir():
        path.unlink()


def _file_more(stored: Stored) -> None:
    (stored.folder / "notes.txt").write_text(json.dumps("mine"))
