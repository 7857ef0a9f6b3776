"""The arms of a gate as keys of its plan: two revisions, or two URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.frozen import to_json
from loadtest.plan.credentials import without_credentials
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM, COUNTS

GATE_PLAN = "scenarios/gate.toml"


@dataclass(frozen=True, slots=True)
class RevisionArm:
    """A revision as a deployment of a plan: its keys, see docs/plan.md."""

    name: str
    title: str
    fly_toml: str
    folder: str
    machines: str
    command: str
    release_command: str
    seed_command: str
    env: Mapping[str, str]
    image: str
    database: str


@dataclass(frozen=True, slots=True)
class RevisionArms:
    """
    The arms of a gate on revisions.

    Args:
        deployments: The revisions, as arms of a plan.
        scratch: Folder of the base's files.
        notes: What a person should know of their files.
    """

    deployments: tuple[RevisionArm, ...]
    scratch: Path
    notes: tuple[str, ...] = ()


def is_url(text: str) -> bool:
    """Tell whether an arm is a running deployment, not a revision."""
    return text.startswith(("http://", "https://"))


def url_arms(base: str, candidate: str) -> dict[str, object]:
    """
    Return the plan keys of two running deployments as arms.

    Args:
        base: URL of the one that is compared with.
        candidate: URL of the one that is judged; empty where none was given.

    Raises:
        PlanError: One of them is no URL, or there is no other.
    """
    if is_url(base) and not candidate:
        raise PlanError(
            f"--base: {without_credentials(base)} is a running deployment, which is compared with "
            "another: name that with --candidate URL; to compare the working tree, give --base a "
            "git revision such as main"
        )
    for option, value in (("--base", base), ("--candidate", candidate)):
        if not is_url(value):
            shown = without_credentials(value)
            raise PlanError(
                f"{option}: {shown!r} is no URL; a run compares two URLs, or a git revision with "
                "the working tree"
            )
    return {
        "deployments": [{"name": BASE_ARM, "url": base}, {"name": CANDIDATE_ARM, "url": candidate}],
        "database": {"fly_toml": ""},
    }


def without_counts(thresholds: Sequence[str]) -> list[str]:
    """Return the rules that hold for URLs too: no link counts the queries behind one."""
    return [t for t in thresholds if parse_threshold(t).measure.metric not in COUNTS]


def setup_of(raw: Mapping[str, object]) -> str:
    """Return ``gate.setup`` of a raw plan; what is wrong with it is told when the plan is read."""
    gate = raw.get("gate")
    setup = gate.get("setup") if isinstance(gate, Mapping) else None
    return setup if isinstance(setup, str) else ""


def with_arms(raw: Mapping[str, object], arms: RevisionArms) -> dict[str, object]:
    """
    Return a raw plan with revisions as its arms.

    What the plan says of an arm of that name stays where the command line says nothing; its
    environment is laid over that of ``gate.env``, and both over the search path.

    Args:
        raw: Raw plan.
        arms: The revisions.
    """
    gate, written = raw.get("gate"), raw.get("deployments")
    shared = gate.get("env") if isinstance(gate, Mapping) else None
    own = {
        table.get("name"): table
        for table in (written if isinstance(written, list) else ())
        if isinstance(table, Mapping)
    }
    deployments = []
    for arm in arms.deployments:
        table = own.get(arm.name, {})
        said = {key: value for key, value in to_json(arm).items() if value != ""}
        layers = (arm.env, shared, table.get("env"))
        env = {
            key: value
            for layer in layers
            if isinstance(layer, Mapping)
            for key, value in layer.items()
        }
        deployments.append({**table, **said, "env": env})
    return {**raw, "deployments": deployments}


def merge(raw: Mapping[str, object], keys: Mapping[str, object]) -> dict[str, object]:
    """Return a raw plan with keys laid over it, tables merged one level deep."""
    merged = dict(raw)
    for key, value in keys.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = {**below, **value}
        else:
            merged[key] = value
    return merged
