"""Starts a world from the CLI's process, and holds the line that the world lives on."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from loadtest.errors import WorldError
from loadtest.frozen import read
from loadtest.world.guard.remains import orphaned, sweep, sweep_orphans
from loadtest.world.spec import WorldSpec

_START_S = 30.0
_STOP_S = 120.0  # five are enough, but for the files of images on a busy disk: 35 were seen
_POLL_S = 0.02
_begun: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class WorldUp:
    """What a world says once it is up: its API, the token for it, the folder that it lives in."""

    api: str
    token: str
    folder: Path


class WorldHandle:
    """
    A world that runs; it ends with `stop`, with the ``with`` block, or with this process.

    Attributes:
        api_url: Base URL of its Machines API.
        token: What the API wants to see.
    """

    def __init__(self, process: subprocess.Popen[bytes], told: WorldUp | None = None) -> None:
        self._process = process
        self._folder = told.folder if told is not None else None
        self.api_url = told.api if told is not None else ""
        self.token = told.token if told is not None else ""

    def __enter__(self) -> WorldHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def guardian_pid(self) -> int:
        """Return the process id of the guardian."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether the guardian still guards."""
        return self._process.poll() is None

    def begin_stop(self) -> None:
        """Tell the world to end, and do not wait."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def stop(self) -> None:
        """
        End the world and wait until nothing of it is left; calling it twice is harmless.

        Raises:
            WorldError: The guardian did not end in time.
        """
        self.begin_stop()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise WorldError(
                f"the world's guardian (pid {self._process.pid}) did not end within {_STOP_S:g} s; "
                "end it with kill"
            ) from None
        if self._folder is not None:
            self._await_removal(self._folder)

    def _await_removal(self, folder: Path) -> None:
        """Wait for a world whose guardian was killed; clean up after it if it was killed too."""
        until = time.monotonic() + _STOP_S
        while folder.exists() and time.monotonic() < until:
            if orphaned(folder):
                sweep(folder)
            time.sleep(_POLL_S)


@contextmanager
def world_begun() -> Iterator[None]:
    """
    Begin to start a world in this process's environment whose spec is still to be found out.

    The next `start_world` takes it; if there is none before the block ends, it ends as well.
    """
    _begun.append(_start_guardian(os.environ))
    try:
        yield
    finally:
        while _begun:
            WorldHandle(_begun.pop()).stop()


def start_world(
    spec: WorldSpec | Mapping[str, object], env: Mapping[str, str] | None = None
) -> WorldHandle:
    """
    Start an embedded world and return when its Machines API answers.

    Args:
        spec: What the world is like.
        env: Environment of the world's own processes; None means this process's. Machines get
            none of it but the search path and the locale.

    Raises:
        WorldError: It could not be started, with the reason.
        PlanError: The spec is wrong; every fault is told.
    """
    checked = spec if isinstance(spec, WorldSpec) else WorldSpec.from_json(spec)
    sweep_orphans()
    process = _begun.pop() if env is None and _begun else _start_guardian(env or os.environ)
    try:
        answer = _first_answer(process, json.dumps(checked.to_json()).encode() + b"\n")
    except BaseException:
        WorldHandle(process).stop()
        raise
    return WorldHandle(process, answer)


def _start_guardian(env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, env.get("PYTHONPATH"))))
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "loadtest.world.guard.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**env, "PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C is the CLI's to handle
        )
    except OSError as error:
        raise WorldError(f"cannot start {sys.executable}: {error.strerror}") from error


def _first_answer(process: subprocess.Popen[bytes], spec: bytes) -> WorldUp:
    assert process.stdin is not None
    assert process.stdout is not None
    until = time.monotonic() + _START_S
    line = b""
    try:
        process.stdin.write(spec)
        process.stdin.flush()
    except OSError as error:
        raise WorldError(f"the world's guardian ended at once: {error.strerror}") from error
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                raise WorldError(f"the world was not up within {_START_S:g} s")
            data = os.read(process.stdout.fileno(), 65_536)
            if not data:
                raise WorldError("the world's guardian ended before the world was up")
            line += data
    answer: dict[str, object] = json.loads(line.splitlines()[0])
    if "error" in answer:
        raise WorldError(f"the world could not be started: {answer['error']}")
    return read(WorldUp, answer, "the world's first answer")
