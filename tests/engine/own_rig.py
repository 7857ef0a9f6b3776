"""Coordinator, workers and a target, each started by hand as a person would, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from engine_rig import die_with_parent, free_port

from loadtest.run.own_keys import TOKEN, find_keys, make_keys

TARGET = Path(__file__).with_name("engine_target.py")
Process = subprocess.Popen[bytes]


class OwnRig:
    """What stands on one machine; everything is gone after ``close``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = folder / "loadtest-keys"
        make_keys(self.keys)
        self.port, self.worker_port = free_port(), free_port()
        self.processes: list[Process] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, *command: str, **environment: str) -> Process:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # as a supervisor does: a share of the CPU of its own
                stdout=subprocess.PIPE if name == "target" else log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the child only calls prctl
            )
        self.processes.append(process)
        return process

    def coordinator(self, *more: str, **environment: str) -> Process:
        ports = ("--port", str(self.port), "--worker-port", str(self.worker_port))
        command = ("-m", "loadtest", "coordinator", *ports, *more)
        process = self.start("coordinator", *command, **environment)
        self.until(lambda: self.status() is not None, "the coordinator answers")
        return process

    def worker(self, region: str, name: str = "", *more: str, **environment: str) -> Process:
        where = ("--region", region, "--coordinator", f"127.0.0.1:{self.worker_port}")
        name = name or f"w-{region}"
        command = ("-m", "loadtest", "worker", *where, "--name", name, *more)
        return self.start(name, *command, **environment)

    def start_as(self, name: str, command: list[str], environment: dict[str, str]) -> Process:
        """Start a command of a container with its variables and nothing else of ours."""
        program, *words = command
        assert program == "loadtest"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "loadtest", *words],
                cwd=self.folder / "elsewhere",
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # as a supervisor does: a share of the CPU of its own
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the child only calls prctl
            )
        self.processes.append(process)
        return process

    def target(self, delay_s: float = 0.003) -> str:
        process = self.start("target", str(TARGET), str(delay_s))
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def status(self) -> dict[str, Any] | None:
        """Return what the coordinator says of itself; None where it does not answer."""
        token = find_keys("driver", self.keys / "driver.env", {})[TOKEN]
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = httpx.get(f"{self.url}/v1/status", headers=headers, trust_env=False)
        except httpx.TransportError:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def await_workers(self, count: int) -> None:
        self.until(lambda: len((self.status() or {"workers": ()})["workers"]) == count, "workers")

    def state(self) -> str:
        """Return the state of the latest run; empty before the first."""
        run = (self.status() or {}).get("run")
        return str(run["state"]) if run else ""

    @staticmethod
    def until(condition: Callable[[], bool], what: str, deadline_s: float = 100.0) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.05)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def own_rig(folder: Path) -> Iterator[OwnRig]:
    rig = OwnRig(folder)
    try:
        yield rig
    finally:
        rig.close()
