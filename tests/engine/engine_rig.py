"""Starts a coordinator, workers and a target as real processes, and talks to the coordinator."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-rig"
FINAL = ("done", "failed", "stopped")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def die_with_parent() -> None:
    """Let a child end when the test process does, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def until(condition: Callable[[], Any], what: str, deadline_s: float = 30.0) -> Any:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


class Rig:
    """One coordinator and its workers; everything is gone after ``close``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port, self.locust_port = free_port(), free_port()
        server, client = zmq.curve_keypair(), zmq.curve_keypair()
        self.keys = {
            "LOADTEST_CURVE_SERVER_PUBLIC": server[0].decode(),
            "LOADTEST_CURVE_CLIENT_PUBLIC": client[0].decode(),
        }
        self.server_secret = {"LOADTEST_CURVE_SERVER_SECRET": server[1].decode()}
        self.client_secret = {"LOADTEST_CURVE_CLIENT_SECRET": client[1].decode()}

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)}
                | {"LOADTEST_LOG": "INFO", **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name.startswith("target") else log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the child only calls prctl
            )
        self.processes.append(process)
        return process

    def coordinator(self, **more: str) -> subprocess.Popen[bytes]:
        process = self.start(
            "coordinator",
            *("-m", "loadtest.engine.coordinator.main"),
            PORT=str(self.port),
            LOCUST_PORT=str(self.locust_port),
            LOADTEST_TOKEN=TOKEN,
            **self.keys,
            **self.server_secret,
            **more,
        )
        until(lambda: self.try_call("GET", "/healthz")[0] == 200, "coordinator answers")
        return process

    def worker(
        self, region: str, machine: str = "", port: int = 0, **more: str
    ) -> subprocess.Popen[bytes]:
        return self.start(
            f"worker-{machine or region}",
            *("-m", "loadtest.engine.worker.main"),
            COORDINATOR=f"127.0.0.1:{port or self.locust_port}",
            FLY_REGION=region,
            FLY_MACHINE_ID=machine or f"m-{region}",
            **{**self.keys, **self.client_secret, **more},
        )

    def target(self, delay_s: float = 0.003) -> str:
        name = f"target-{len(self.processes)}"
        script = Path(__file__).with_name("engine_target.py")
        process = self.start(name, str(script), str(delay_s))
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def call(
        self, method: str, path: str, body: Any = None, token: str = TOKEN
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body)
            headers = {"Authorization": f"Bearer {token}"}
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def try_call(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            return self.call(method, path)
        except OSError:
            return 0, b""

    def get(self, path: str) -> Any:
        status, content = self.call("GET", path)
        assert status == 200, content
        return json.loads(content)

    def run_status(self, run_id: str) -> Any:
        return self.get(f"/v1/runs/{run_id}")

    def wait_final(self, run_id: str, deadline_s: float = 60.0) -> Any:
        def final() -> Any:
            status = self.run_status(run_id)
            return status if status["state"] in FINAL else None

        return until(final, f"run {run_id} ends", deadline_s)

    def parts(self, run_id: str) -> list[bytes]:
        listed = self.get(f"/v1/runs/{run_id}/parts")["parts"]
        return [self.call("GET", f"/v1/runs/{run_id}/parts/{p['name']}")[1] for p in listed]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


SCENARIO = """
from locust import task
from loadtest.engine.user import TTFBUser

class Visit(TTFBUser):
    scenario = "visit"

    @task
    def page(self):
        self.client.get("/recipes", name="GET /recipes")
"""


def order(
    regions: tuple[str, ...], url: str, run_id: str = "r1", segment: int = 0, **changes: Any
) -> dict[str, Any]:
    """Return a RunOrder for two arms that both lead to ``url``."""
    load = {"rate": 80, "duration_s": 1, "warmup_s": 0.25, "block_s": 0.25, "timeout_s": 5}
    plan: dict[str, Any] = {
        "schema": 1,
        "regions": list(regions),
        "primary_region": regions[0],
        "scenario": "scenario.py",
        "deployments": [{"name": "a"}, {"name": "b"}],
        "generator": {"self_check_bias_ms": 50},
        "load": {**load, **changes.pop("load", {})},
        **changes,
    }
    return {
        "schema": 1,
        "run_id": run_id,
        "segment": segment,
        "plan": plan,
        "targets": {region: {arm: {"url": url} for arm in ("a", "b")} for region in regions},
    }
