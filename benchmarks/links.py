"""
How exact a link is: ours beside a plain asyncio relay, the same pings, one run after the other.

    python -m benchmarks.links [--one-way-ms 12.5] [--connections 20] [--seconds 4]

Every connection pings through a relay to an echo; the error is the round trip less twice the
one-way time, taken from the client's write to the kernel's stamp on the answer and less what the
echo itself took.  CPU is the relay process's own, per message and direction.

Then both layers of a world, relay and hosts: one machine pings another and sends to it as fast as
one flow goes.  Here programs stamp for themselves, so their waking up is in every error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.fly.client import connect
from loadtest.fly.config import parse_app_config
from loadtest.fly.deploy import AppOrder, deploy
from loadtest.run.standing_world import command_inside
from loadtest.world.handle import start_world
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl
from loadtest.world.links.probe import Probe

PLAIN_RELAY = """
import asyncio, sys, threading, os
delay, target = float(sys.argv[1]), int(sys.argv[2])
async def pump(reader, writer):
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(delay, writer.write, data)
async def relay(reader, writer):
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
asyncio.run(main())
"""

TOML = """
app = "bench"
primary_region = "cdg"
[env]
PEER = "ord.bench.internal:8080"
[processes]
app = "python app.py"
[[services]]
internal_port = 8080
[[services.ports]]
port = 8080
[[services.tcp_checks]]
interval = "1s"
"""

SERVER = """
import os, socket, threading
def serve(sock):
    kind, total = sock.recv(1), 0
    while data := sock.recv(1 << 18):
        total += len(data)
        if kind == b"e":
            sock.sendall(data)
    sock.sendall(str(total).encode())
    sock.close()
server = socket.create_server(("::", int(os.environ["PORT"])), family=socket.AF_INET6,
                              dualstack_ipv6=True)
while True:
    sock = server.accept()[0]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(sock,), daemon=True).start()
"""

CLIENT = """
import json, os, socket, sys, time
host, _, port = os.environ["PEER"].rpartition(":")
seconds = float(sys.argv[1])
def dial(kind):
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(kind)
    return sock
trips, sock, end = [], dial(b"e"), time.monotonic() + seconds
while len(trips) < 6 or (time.monotonic() < end and len(trips) < 2000):
    start = time.perf_counter_ns()
    sock.sendall(b"ping")
    sock.recv(4)
    trips.append(time.perf_counter_ns() - start)
sock.close()
sock, data = dial(b"s"), bytes(1 << 18)
start = time.monotonic()
while time.monotonic() < start + seconds:
    sock.sendall(data)
sock.shutdown(socket.SHUT_WR)
total = int(sock.recv(64))
print(json.dumps({"trips_ns": trips[5:], "mbit_s": total * 8 / 1e6 / (time.monotonic() - start)}))
"""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(name: str, errors_us: list[float], cpu_us: float) -> str:
    errors_us.sort()
    p50, p99 = (errors_us[int(len(errors_us) * share)] for share in (0.5, 0.99))
    times = "".join(f"{value:>10.0f}" for value in (p50, p99, errors_us[-1], cpu_us))
    return f"{name:<22}{len(errors_us):>7}{times}"


def ping(
    probe: Probe, pid: int, port: int, options: argparse.Namespace
) -> tuple[list[float], float]:
    configured_ns = 2 * options.one_way_ms * 1e6
    pings = max(1, int(options.seconds * 1e9 / configured_ns))
    before = cpu_s(pid)
    results = probe.measure([port] * options.connections, pings, options.seconds * 10)
    errors = [(trip - configured_ns) / 1e3 for trips in results for trip in trips]
    return errors, (cpu_s(pid) - before) * 1e6 / (2 * len(errors))


async def ours(options: argparse.Namespace) -> str:
    control = await LinkControl.start()
    try:
        probe = Probe()
        one_way_ns = int(options.one_way_ms * 1e6)
        port = await control.open("bench", LinkAddress("127.0.0.1", probe.echo_port), one_way_ns)
        line = row("links (timerfd)", *ping(probe, control.pid, port, options))
        status = await control.status()
        return f"{line}   lead {status.lead_ns / 1e3:.0f} us, {status.clock} stamps"
    finally:
        await control.stop()


def plain(options: argparse.Namespace) -> str:
    probe = Probe()
    with subprocess.Popen(
        [sys.executable, "-c", PLAIN_RELAY, str(options.one_way_ms / 1e3), str(probe.echo_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as relay:
        assert relay.stdin is not None
        assert relay.stdout is not None
        try:
            port = int(relay.stdout.readline())
            return row("asyncio call_later", *ping(probe, relay.pid, port, options))
        finally:
            relay.stdin.close()


def layer_row(layer: str, rtt_ms: float, seconds: float) -> str:
    """Measure one layer of a world at one distance."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(SERVER)
        spec = {
            "regions": ["cdg", "ord"],
            "primary_region": "cdg",
            "rtt_ms": {"cdg-ord": rtt_ms},
            "layer": layer,
            "lenient": True,
            "images": {"bench": {"cwd": folder}},
        }
        order = AppOrder(
            config=parse_app_config(TOML, Path("fly.toml")),
            regions=("cdg", "ord"),
            primary_region="cdg",
            run_id="bench",
            image="bench:local",
            deadline_s=15.0,
        )
        with start_world(spec) as world:
            asyncio.run(deployed(world.api_url, world.token, order))
            words = command_inside(
                "bench/cdg", ["python", "-c", CLIENT, str(seconds)], url=world.api_url
            )
            env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
            told = json.loads(
                subprocess.run(words, env=env, capture_output=True, check=True).stdout
            )
    errors = sorted((trip - rtt_ms * 1e6) / 1e3 for trip in told["trips_ns"])
    p50, p99 = (errors[int(len(errors) * share)] for share in (0.5, 0.99))
    times = "".join(f"{value:>10.0f}" for value in (p50, p99, errors[-1]))
    return f"{layer:<8}{rtt_ms:>6.0f} ms{len(errors):>7}{times}{told['mbit_s']:>12.0f}"


async def deployed(api_url: str, token: str, order: AppOrder) -> None:
    async with connect(api_url, token) as client:
        await deploy(client, order, set())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--one-way-ms", type=float, default=12.5)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    print(f"{options.connections} connections, one way {options.one_way_ms:g} ms; us")
    print(f"{'relay':<22}{'n':>7}{'p50':>10}{'p99':>10}{'max':>10}{'cpu/msg':>10}")
    print(asyncio.run(ours(options)))
    print(plain(options))
    print("\nlayers of a world: error of a round trip in us, one flow in Mbit/s")
    print(f"{'layer':<8}{'rtt':>9}{'n':>7}{'p50':>10}{'p99':>10}{'max':>10}{'one flow':>12}")
    for rtt_ms in (0.0, 100.0):
        for layer in ("relay", "hosts"):
            try:
                print(layer_row(layer, rtt_ms, options.seconds), flush=True)
            except WorldError as error:
                print(f"{layer:<8}{rtt_ms:>6.0f} ms  {error}")


if __name__ == "__main__":
    main()
