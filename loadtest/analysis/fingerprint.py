"""What must be alike for two runs to be comparable, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtest.analysis.load import Run
from loadtest.records.world_facts import ComputerFacts

# What changes from run to run by intent, or says nothing of what was measured.
_FREE: Final = (
    "name",
    "title",
    "seed",
    "thresholds",
    "gate",
    "validity",
    "reproduce",
    "rtt_ms",
    "sources",
)
_MEMORY_STEP_MB: Final = 1_024
"""The kernel of the same machine size reports a few megabytes more or less."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that runs do not have in common: its key and its value in each run."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}: {' / '.join(self.values)}"


def fingerprint(run: Run) -> dict[str, str]:
    """Return what the numbers of a run depend on besides the weather, by dotted key."""
    facts: dict[str, object] = {
        "plan": {k: v for k, v in run.plan.to_json().items() if k not in _FREE},
        "rtt_ms": run.plan.network.rtt_ms,
        "world": {
            "kind": run.world.kind,
            "link_layer": run.world.link_layer or "",
            "postgres": run.world.postgres.version if run.world.postgres else "",
        },
        "versions": run.engine.versions if run.engine else run.world.versions,
        "machine": _machine(run.world.machine),
    }
    return dict(sorted(_flat("", facts)))


def differences(runs: Sequence[Run]) -> tuple[Difference, ...]:
    """Return what the runs do not have in common, in alphabetical order of the keys."""
    prints = [fingerprint(run) for run in runs]
    keys = sorted(set().union(*prints))
    found = []
    for key in keys:
        values = tuple(one.get(key, "(nothing)") for one in prints)
        if len(set(values)) > 1:
            found.append(Difference(key, values))
    return tuple(found)


def _machine(machine: ComputerFacts) -> dict[str, object]:
    memory = machine.memory_mb
    rounded = None if memory is None else round(memory / _MEMORY_STEP_MB)
    return {
        "cpus": machine.cpus,
        "memory_gb": rounded,
        "platform": machine.platform.split("-")[0],
    }


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        pairs = []
        for key, inner in value.items():
            if key not in _FREE or prefix == "":
                pairs += _flat(f"{prefix}.{key}" if prefix else str(key), inner)
        return pairs
    if isinstance(value, list):
        named = all(isinstance(item, dict) and "name" in item for item in value)
        if value and named:
            inner_pairs = []
            for item in value:
                rest = {k: v for k, v in item.items() if k != "name"}
                inner_pairs += _flat(f"{prefix}.{item['name']}", rest)
            return inner_pairs
        return [(prefix, ", ".join(str(item) for item in value))]
    return [(prefix, str(value))]
