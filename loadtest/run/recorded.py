"""Requests that somebody has already, written down as a scenario file for editing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtest.errors import PlanError
from loadtest.plan.recorded import RecordedRequest, Recording, read_recording
from loadtest.records.whole import whole_file

SECRET: Final = {
    *("authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token"),
    "x-csrf-token",
}
"""Headers whose values go to no file: they travel with this run, as those of ``--header`` do."""

_OURS: Final = {
    *("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "te"),
    *("upgrade", "if-none-match", "if-modified-since", "if-match", "upgrade-insecure-requests"),
}
"""Headers that the client sets itself, or that ask for an answer without a body."""

_PLAIN: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HEAD: Final = '''\
"""What visitors do, taken from {source}.  It is yours to edit; each task is one arrival."""

from locust import task

from loadtest.engine.user import TTFBUser


class Visitor(TTFBUser):
    """Asks what {source} asks."""

    scenario = "recorded"
'''


@dataclass(frozen=True, slots=True)
class WrittenScenario:
    """
    What was made of a recording.

    ``secrets`` are headers of the first request that has them: name and value, for this run alone.
    """

    path: Path
    origin: str
    secrets: dict[str, str]
    notes: tuple[str, ...]


def write_scenario(source: Path, folder: Path, target: str = "") -> WrittenScenario:
    """
    Write a scenario file beside the plan; one that is there already is never overwritten.

    Args:
        source: Curl command lines, a HAR file or an OpenAPI document.
        folder: Where the scenario goes.
        target: URL to ask instead of the one that the source names; empty keeps that.

    Raises:
        PlanError: The source has nothing to ask, the target has a path of its own, or another file
            of that name is there.
    """
    tail = urlsplit(target)
    if tail.path.strip("/") or tail.query:
        raise PlanError(
            f"--from {source}: its requests have their paths, so the target is a URL without one: "
            f"{tail.scheme}://{tail.netloc.rpartition('@')[2]}"
        )
    recording = read_recording(source, target)
    stem = re.sub(r"\W+", "_", source.stem.lower()).strip("_") or "recorded"
    path = folder / f"{stem}_scenario.py"
    text = scenario_text(recording, source.name)
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise PlanError(
            f"--from {source}: {path} is there already and was edited; run it with "
            f"`loadtest run {recording.origin} --scenario {path}`, or move it away"
        )
    with whole_file(path) as file:
        file.write(text.encode())
    secrets: dict[str, str] = {}
    for request in recording.requests:
        for name, value in request.headers:
            if name.lower() in SECRET:
                secrets.setdefault(name, value)
    notes = list(recording.notes)
    asked = f"{tail.scheme}://{tail.netloc.rpartition('@')[2]}" if target else recording.origin
    if asked.lower() != recording.origin.lower():
        notes.append(f"asked of {asked} in place of {recording.origin}")
    if secrets:
        notes.append(
            f"{', '.join(secrets)}: sent with this run and written nowhere; later: "
            + " ".join(f"--header '{name}: ${{{_variable(name)}}}'" for name in secrets)
        )
    return WrittenScenario(path, recording.origin, secrets, tuple(notes))


def scenario_text(recording: Recording, source: str) -> str:
    """Return the scenario file of a recording; values of secret headers are not in it."""
    taken: set[str] = set()
    parts = [_HEAD.format(source=re.sub(r"[^\w .-]", "_", source))]
    for request in recording.requests:
        word = re.sub(r"\W+", "_", _name(request).lower()).strip("_")
        word = word if word.isidentifier() and word.isascii() else f"ask_{len(parts)}"
        tries = chain([word], (f"{word}_{number}" for number in count(2)))
        task = next(name for name in tries if name not in taken)
        taken.add(task)
        parts.append(_task(task, request))
    return "\n".join(parts)


def _name(request: RecordedRequest) -> str:
    """Return the name of a request's page: its method and path."""
    return f"{request.method} {_target(request).partition('?')[0]}"


def _task(task: str, request: RecordedRequest) -> str:
    method = request.method
    own = method in _PLAIN
    call = f"self.client.{method.lower()}(" if own else f"self.client.request({method!r},"
    lines = [f"{_target(request)!r},", f"name={_name(request)!r},"]
    headers = {
        name: value
        for name, value in request.headers
        if not name.startswith(":")
        and name.lower() not in SECRET | _OURS
        and not name.lower().startswith("sec-")
    }
    if headers:
        lines.append("headers={" + ", ".join(f"{n!r}: {v!r}" for n, v in headers.items()) + "},")
    if request.body:
        lines.append(f"data={request.body!r},")
    body = "\n".join(f"            {line}" for line in lines)
    return f"    @task\n    def {task}(self) -> None:\n        {call}\n{body}\n        )\n"


def _target(request: RecordedRequest) -> str:
    parts = urlsplit(request.url)
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    return f"{path}?{parts.query}" if parts.query else path


def _variable(name: str) -> str:
    return re.sub(r"\W+", "_", name).upper()
