"""A small world for tests: two regions and an app that answers with what it was told."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient, connect
from loadtest.fly.config import parse_app_config
from loadtest.fly.deploy import deploy
from loadtest.fly.orders import AppOrder
from loadtest.world.guard.alive import start_time
from loadtest.world.guard.reaper import descendants

DEADLINE_S = 15.0

APP = """
import http.server, json, os, subprocess, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        healthy = self.path != "/healthz" or os.environ.get("HEALTHY", "1") == "1"
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200 if healthy else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

if os.environ.get("WITH_DAEMON"):  # one that leaves its session, as badly behaved programs do
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.serve_forever()
"""

TOML = """
app = "hello"
primary_region = "cdg"
kill_signal = "SIGTERM"

[processes]
app = "python app.py"

[http_service]
internal_port = 8080

[[http_service.checks]]
path = "/healthz"
interval = "2s"
"""


def write_app(folder: Path) -> None:
    """Write the app into the folder that stands in for its image."""
    (folder / "app.py").write_text(APP)
    (folder / "crash.py").write_text("raise SystemExit('no database')")
    (folder / "release.py").write_text(
        "import os; open(os.environ['NOTE'], 'a').write(os.environ['RELEASE_COMMAND'])"
    )
    (folder / "seed.py").write_text("import os; open(os.environ['NOTE'], 'a').write(' seed')")


def spec(folder: Path, **overrides: Any) -> dict[str, Any]:
    """Return a world of Paris and Chicago that are near and lenient, so that tests are quick."""
    return {
        "schema": 1,
        "regions": ["cdg", "ord"],
        "primary_region": "cdg",
        "rtt_ms": {"cdg-ord": 40.0},
        "layer": "relay",
        "lenient": True,
        "images": {"hello": {"cwd": str(folder), "env": {}}},
        **overrides,
    }


def order(toml: str = TOML, **overrides: Any) -> AppOrder:
    """Return what deploys the app everywhere."""
    return AppOrder(
        **{
            "config": parse_app_config(toml, Path("fly.toml")),
            "regions": ("cdg", "ord"),
            "primary_region": "cdg",
            "run_id": "r1",
            "image": "hello:local",
            "deadline_s": DEADLINE_S,
            "public": True,
            **overrides,
        }
    )


def with_client(api_url: str, token: str, work: Callable[[MachinesClient], Any]) -> Any:
    """Run asynchronous work with a client of a world."""

    async def run() -> Any:
        async with connect(api_url, token) as client:
            return await work(client)

    return asyncio.run(run())


def deploy_hello(api_url: str, token: str, **overrides: Any) -> tuple[Machine, ...]:
    """Deploy the app and return its machines."""
    found = with_client(api_url, token, lambda client: deploy(client, order(**overrides), set()))
    machines: tuple[Machine, ...] = found.machines
    return machines


def nothing(found: Callable[[], object]) -> None:
    """Wait until nothing is found any more; fail with what is still there after a deadline."""
    until = time.monotonic() + DEADLINE_S
    while there := found():
        assert time.monotonic() < until, f"still there: {there}"
        time.sleep(0.02)


@dataclass
class Footprint:
    """Everything of a world that somebody could find on this machine."""

    pids: dict[int, int] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    base: Path = Path()

    @classmethod
    def of(cls, guardian: int, ports: list[int]) -> Footprint:
        """Take down the guardian, all below it, and its folder."""
        pids = [guardian, *descendants(guardian)]
        arguments = Path(f"/proc/{world_pid(guardian)}/cmdline").read_bytes().split(b"\0")
        return cls({pid: start_time(pid) for pid in pids}, ports, Path(os.fsdecode(arguments[3])))

    def left(self) -> list[str]:
        """Return what is still there."""
        found = [f"process {p}" for p, began in self.pids.items() if start_time(p) == began]
        found += [f"port {port}" for port in self.ports if listens(port)]
        return found + ([f"folder {self.base}"] if self.base.exists() else [])


def world_pid(guardian: int) -> int:
    """Return the process id of the world below a guardian."""
    for pid in descendants(guardian):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if arguments[1:3] == [b"-m", b"loadtest.world"]:
            return pid
    raise AssertionError("the guardian has no world")


def listens(port: int) -> bool:
    """Tell whether anybody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ports_of(world: dict[str, Any], api_url: str) -> list[int]:
    """Return the ports of the API, the edges and the machines that GET /world names."""
    urls = [api_url, *(url for edges in world["edges"].values() for url in edges.values())]
    machines = [port for machine in world["machines"] for port in machine["ports"].values()]
    return [*(int(url.rsplit(":", 1)[1]) for url in urls), *machines]


def main() -> None:
    """Stand in for the CLI: start a world with the app, tell where it is, and wait to be killed."""
    import httpx

    from loadtest.world.handle import start_world

    folder = Path(sys.argv[1])
    handle = start_world(spec(folder))
    deploy_hello(handle.api_url, handle.token, env={"WITH_DAEMON": "1"})
    headers = {"authorization": f"Bearer {handle.token}"}
    world = httpx.get(f"{handle.api_url}/world", headers=headers).json()
    ports = ports_of(world, handle.api_url)
    print(json.dumps({"guardian": handle.guardian_pid, "ports": ports}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
