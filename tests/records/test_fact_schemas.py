"""
The keys of what crosses the cut, by schema version: none changes its name without another number.

To change a fact: raise its version, add a line to the history beside it, and put the new hash here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from typing import Any

import pytest

from loadtest.records.facts import ENGINE_SCHEMA, EngineFacts
from loadtest.records.schema import RECORDS, SCHEMA_VERSION
from loadtest.records.watch import WATCH_SCHEMA, NoWatch, WatchFacts
from loadtest.records.world_facts import WORLD_SCHEMA, WorldFacts

KNOWN = {
    ("engine.json", 6): "0de08ae22d392dac",
    ("world.json", 4): "0d84113f0ecc06e6",
    ("watch", 3): "11b6031514463459",
    ("records.parquet", 3): "f075c48b3937248f",
}


def keys_of(kind: Any, seen: frozenset[Any] = frozenset()) -> list[str]:
    """Return every key of a frozen type and of those within it, with its kind of value."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        found.append(f"{kind.__name__}.{name}: {kind.__annotations__[name]}")
        for inner in _types_in(hint):
            if inner not in seen and inner not in (WatchFacts, NoWatch):
                found += keys_of(inner, seen | {kind})
    return found


def _types_in(hint: Any) -> list[Any]:
    if dataclasses.is_dataclass(hint):
        return [hint]
    return [inner for part in typing.get_args(hint) for inner in _types_in(part)]


def told_by(name: str) -> list[str]:
    if name == "records.parquet":
        return [f"{column.name}: {column.type}" for column in RECORDS]
    kinds: dict[str, tuple[Any, ...]] = {
        "engine.json": (EngineFacts,),
        "world.json": (WorldFacts,),
        "watch": (WatchFacts, NoWatch),
    }
    return [key for kind in kinds[name] for key in keys_of(kind)]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("engine.json", ENGINE_SCHEMA),
        ("world.json", WORLD_SCHEMA),
        ("watch", WATCH_SCHEMA),
        ("records.parquet", SCHEMA_VERSION),
    ],
)
def test_keys_change_with_their_version_alone(name: str, version: int) -> None:
    print_ = hashlib.sha256("\n".join(told_by(name)).encode()).hexdigest()[:16]
    assert KNOWN.get((name, version)) == print_, (
        f"{name}: its keys are not those of schema {version}: raise the version and put "
        f"{print_!r} beside it"
    )


def test_every_key_is_looked_at() -> None:
    """Keys deep inside are among them, and so are those of either kind of watch."""
    assert any(key.startswith("HealthFacts.steal_share_max") for key in told_by("engine.json"))
    assert any(key.startswith("EdgeCounts.upstream_connections") for key in told_by("world.json"))
    assert any(key.startswith("NoWatch.cannot_tell") for key in told_by("watch"))
