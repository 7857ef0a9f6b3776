"""Plans of locustfiles: what Locust's command line says, as a plan of the closed model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydantic

from loadtest.errors import PlanError
from loadtest.plan.credentials import without_credentials
from loadtest.plan.model import LocustSettings, Plan, UserStep
from loadtest.plan.selection import names_in
from loadtest.plan.urls import looks_like_url, plan_of_urls

RUN_TIME_S: Final = 30.0
BLOCKS: Final = 75
_SHORTEST_BLOCK_S, _LONGEST_BLOCK_S = 0.25, 1.0
_RUN_TIME: Final = re.compile(r"(?:(\d+)\s*h)?\s*(?:(\d+)\s*m)?\s*(?:(\d+(?:\.\d+)?)\s*s?)?", re.I)


@dataclass(frozen=True, slots=True)
class LocustCommand:
    """
    What the command line says of a locustfile; None where it says nothing.

    Args:
        path: The file.
        hosts: Base URLs, each perhaps with a path; several are compared.
        classes: User classes to play; none means all.
        users: Users of each cell.
        spawn_rate: Users started a second.
        run_time_s: Seconds of load, the start of the users included.
        tags: Play only tasks with one of these.
        exclude_tags: Play no task with one of these.
        options: Words for options that the file itself adds to Locust's.
    """

    path: str
    hosts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    users: int | None = None
    spawn_rate: float | None = None
    run_time_s: float | None = None
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def settings(self) -> LocustSettings:
        """Return what decides which tasks of the file are played."""
        return LocustSettings(
            classes=self.classes,
            tags=self.tags,
            exclude_tags=self.exclude_tags,
            options=self.options,
        )


@dataclass(frozen=True, slots=True)
class LocustfileFacts:
    """
    What a locustfile says of itself once it is imported.

    Args:
        classes: Names of the user classes that would be played.
        hosts: The ``host`` of each, empty where it has none.
        steps: How many users there are over time, by its shape class.
        ends_s: When the shape ends; 0 without a shape, infinite for one that never does.
        notes: What has no meaning here, each with file and line.
        modules: Files beside it that it imports.
    """

    classes: tuple[str, ...]
    hosts: tuple[str, ...]
    steps: tuple[UserStep, ...]
    ends_s: float
    notes: tuple[str, ...]
    modules: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the facts as JSON-ready values; null for a shape that never ends."""
        ends_s = None if math.isinf(self.ends_s) else self.ends_s
        return {**_FACTS.dump_python(self, mode="json"), "ends_s": ends_s}

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> LocustfileFacts:
        """Return the facts that ``to_json`` wrote."""
        ends_s = math.inf if raw["ends_s"] is None else raw["ends_s"]
        return _FACTS.validate_python({**raw, "ends_s": ends_s})


_FACTS: Final = pydantic.TypeAdapter(LocustfileFacts)


def run_time_s(text: str) -> float:
    """
    Return the seconds of ``300``, ``20s``, ``3m`` or ``1h30m``, as Locust writes them.

    Raises:
        PlanError: It is none of these, or nothing.
    """
    match = _RUN_TIME.fullmatch(text.strip())
    hours, minutes, seconds = match.groups() if match is not None else (None, None, None)
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
    if total <= 0:
        raise PlanError(f"--run-time: {text!r} is no time; write 300, 20s, 3m or 1h30m")
    return total


def plan_of_locustfile(
    command: LocustCommand,
    facts: LocustfileFacts,
    *,
    at: str = "",
    regions: Sequence[str] = (),
    world: str = "embedded",
) -> tuple[dict[str, object], list[str]]:
    """
    Return the raw plan that plays a locustfile, and what a person should know of it.

    Args:
        command: What the command line says.
        facts: What the file says.
        at: As for `plan_of_urls`.
        regions: As there.
        world: As there.

    Raises:
        PlanError: There is no host, or the file and the command line do not go together.
    """
    notes = list(facts.notes)
    raw = plan_of_urls(_hosts(command, facts, notes), at=at, regions=regions, world=world)
    base_path = names_in(raw, "paths")[0].rstrip("/")
    if "?" in base_path:
        raise PlanError("--host: a base URL has no query; give it with each request")
    if world == "fly":
        _refuse_far_files(command, facts)
    total_s, warmup_s = _times(command, facts, notes)
    measured_s = total_s - warmup_s
    users = max(step.users for step in facts.steps) if facts.steps else command.users or 1
    raw |= {
        "name": _name_of(command.path),
        "scenario": command.path,
        "paths": ["/"],
        "load": {
            "model": "closed",
            "users": users,
            "duration_s": measured_s,
            "warmup_s": warmup_s,
            "block_s": min(_LONGEST_BLOCK_S, max(_SHORTEST_BLOCK_S, measured_s / BLOCKS)),
        },
        "gate": {"max_looks": 1},
        "locustfile": {
            "base_path": base_path,
            "replaces_hosts": bool(command.hosts),
            "classes": list(command.classes),
            "tags": list(command.tags),
            "exclude_tags": list(command.exclude_tags),
            "options": list(command.options),
            "spawn_rate": command.spawn_rate or 1.0,
            "steps": [step.model_dump(mode="json") for step in facts.steps],
        },
    }
    return raw, notes


def users_in_words(plan: Plan) -> str:
    """Return in words what load a run of a locustfile will put on its targets."""
    seconds = plan.load.duration_s + plan.load.warmup_s
    cells = len(plan.deployments) * len(plan.regions)
    most = "up to " if plan.locustfile is not None and plan.locustfile.steps else ""
    where = f" in each of {cells} cells" if cells > 1 else ""
    word = "user" if plan.load.users == 1 else "users"
    return f"{most}{plan.load.users} {word}{where} for {seconds:g} s"


def _hosts(command: LocustCommand, facts: LocustfileFacts, notes: list[str]) -> list[str]:
    """Return the URLs to measure: the command line's, else the one that the classes name."""
    own = list(dict.fromkeys(filter(None, facts.hosts)))
    if len(own) > 1 and not command.hosts:
        named = ", ".join(map(without_credentials, own))
        notes.append(
            f"the classes name {len(own)} hosts ({named}): the tables call the first one "
            "the target, requests to the others stand there too"
        )
    hosts = list(command.hosts) or own[:1]
    if not hosts:
        raise PlanError(
            f"--host: neither the command line nor a class of {command.path} says where to send "
            "requests; add --host https://shop.example"
        )
    for host in hosts:
        if not looks_like_url(host):
            shown = without_credentials(host)
            raise PlanError(f"--host: {shown!r} is no URL; write http://{shown} or https://{shown}")
    return hosts


def _refuse_far_files(command: LocustCommand, facts: LocustfileFacts) -> None:
    if facts.modules:
        raise PlanError(
            f"--world fly: {command.path} imports {facts.modules[0]}, and only the locustfile "
            "itself travels to a machine; put it into one file, or into an image of your own"
        )
    if Path(command.path).is_absolute():
        raise PlanError(
            f"--world fly: {command.path} is outside this folder; call loadtest from its own"
        )


def _times(command: LocustCommand, facts: LocustfileFacts, notes: list[str]) -> tuple[float, float]:
    """Return how long the load lasts and how much of it is warm-up, both in seconds."""
    if facts.steps:
        for value, flag in ((command.users, "--users"), (command.spawn_rate, "--spawn-rate")):
            if value is not None:
                raise PlanError(
                    f"{flag} {value:g}: the load shape of {command.path} says how many users there "
                    "are; leave it out"
                )
        if math.isinf(facts.ends_s) and command.run_time_s is None:
            raise PlanError(
                f"--run-time: the load shape of {command.path} does not end within a day; say how "
                "long to run, as --run-time 10m"
            )
        notes.append(
            "the load shape was asked beforehand, second by second; all of its time is measured"
        )
        return min(facts.ends_s, command.run_time_s or math.inf), 0.0
    total_s = command.run_time_s or RUN_TIME_S
    users, rate = command.users or 1, command.spawn_rate or 1.0
    start_s = (users - 1) / rate
    if start_s >= total_s:
        notes.append(
            f"{users} users at {rate:g} a second take {start_s:g} s to start, longer than the run "
            f"({total_s:g} s): all of it is measured, while users are still coming"
        )
        return total_s, 0.0
    return total_s, start_s


def _name_of(path: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")
    return plain[:40].rstrip("-") or "locustfile"
