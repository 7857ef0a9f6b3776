"""A short real run that something is done to, and how it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from live_app import APP, APP_PLAN, FLY_TOML
from live_target import Target, target
from whole_program import Program, gone_within, has_measured, processes, read, words_of

HANG_S = 180.0
TIDY_S = 12.0

_INVALID, _PLAN = 12, 13
_ATTEMPTS = 3
_BUSY = {"late", "loop lag", "stamp gap", "cpu", "steal", "world late"}
"""Checks that a machine with other work fails, whatever is done to the run."""

PLAN = """\
schema = 1
name = "faults"
regions = ["here"]
primary_region = "here"
scenario = "{scenario}"
paths = ["/"]
base = "0"
thresholds = ["ttfb.p50 < 10s"]

[load]
rate = 30
duration_s = 7
warmup_s = 1
block_s = 0.5
timeout_s = 2
users = 16
{load}

[network]
rtt = "neutral"

[database]
fly_toml = ""

[gate]
max_looks = 1

[[deployments]]
name = "target"
url = "http://{host}:{port}"
"""

BASE = """
[[deployments]]
name = "base"
url = "http://127.0.0.1:{port}"
"""
"""What is put after the plan where the target is compared with another server."""

ARM_RULES = """thresholds = [
    "ttfb.p50 within 20% or 20ms of baseline", "errors within 2% of baseline",
]"""

GATE_RULES = """thresholds = [
    "ttfb.p50 within 5% or 5ms of baseline", "ttfb.p95 within 10% or 10ms of baseline",
    "response_from_schedule.p95 within 10% or 10ms of baseline",
]"""
"""Those of `loadtest gate`, but for round trips: no server of these has a database."""

WORLD = """\
schema = 1
name = "faults"
regions = ["cdg", "ord"]
primary_region = "cdg"
scenario = "scenarios/recipes.py"
base = "0"
thresholds = ["ttfb.p50 < 10s"]

[load]
rate = 15
duration_s = 9
warmup_s = 1
block_s = 0.5
timeout_s = 2

[network]
rtt_ms = {"cdg-ord" = 20.0}

[gate]
max_looks = 1

[[deployments]]
name = "replica"
fly_toml = "fly/recipes-replica/fly.toml"
"""
"""An app of ours with a primary and a replica, in a world of its own."""

SCENARIO = """\
import os, signal, sys, threading, time
from locust import task
from loadtest.engine.user import TTFBUser

class Mine(TTFBUser):
    def on_start(self):
        {on_start}

    @task
    def page(self):
        {task}
"""

Act = Callable[[Program, Target, Path], None]

BAD = frozenset({10, 11, 12, 14, 15})
"""The run may end in any of these, but is not good."""


@dataclass(frozen=True)
class Live:
    """
    One fault of a live run.

    ``mode`` is the target's from request ``after`` on (preflight sends one).  ``act`` is called
    once the program runs.  ``shell`` stands before the command, such as ``ulimit -n 64;``.
    ``base`` is the mode of a second server, the arm that the target is compared with, by ``rules``
    in place of the usual ones; ``host`` is how the target is called.  ``world`` measures an app of
    ours in place of the target, ``app`` two arms of a small one: what the candidate does, and the
    base.  ``event`` has to stand on the time line of a run that is good.
    """

    name: str
    codes: frozenset[int] = BAD
    told: str = ""
    mode: str = "good"
    after: int = 0
    act: Act | None = None
    task: str = ""
    on_start: str = "pass"
    scenario: str = ""
    load: str = ""
    shell: str = ""
    words: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    rules: str = ""
    host: str = "127.0.0.1"
    world: bool = False
    app: tuple[str, str] = ("", "")
    event: str = ""


@dataclass(frozen=True)
class End:
    """How a run ended: its code, what it said, and what was left or wrong."""

    code: int
    said: str
    wrong: tuple[str, ...]


def run(fault: Live, place: Path) -> End:
    """
    Run a fault to its end, and look for what is left of it.

    A run that ought to be good, and was invalid because this machine was busy with something else,
    says so rightly: it is run again.
    """
    for attempt in range(_ATTEMPTS):
        folder = place / str(attempt)
        folder.mkdir()
        end = _run(fault, folder)
        if _INVALID in fault.codes or end.code != _INVALID or not _was_busy(folder, end):
            break
    return end


def _was_busy(place: Path, end: End) -> bool:
    """Tell whether what speaks against a run is that its machine had other work, and no more."""
    summary = place / "run" / "summary.json"
    if not summary.is_file() or any("left" in one or "traceback" in one for one in end.wrong):
        return False
    checks = read(summary)["validity"]["checks"]
    broken = {check["name"] for check in checks if not check["ok"]}
    return bool(broken) and broken <= _BUSY


def _run(fault: Live, place: Path) -> End:
    (place / "tmp").mkdir()
    # PostgreSQL, which never runs as root, has to be let into the folder of a world
    open_to_all = tempfile.TemporaryDirectory(prefix="faults-")
    Path(open_to_all.name).chmod(0o755)
    temporary = Path(open_to_all.name) if fault.world or any(fault.app) else place / "tmp"
    with (
        open_to_all,
        target(fault.mode, fault.after) as server,
        target(fault.base or "good") as beside,
    ):
        server.beside = beside
        scenario = "scenarios/pages.py"
        if fault.task or fault.scenario or fault.on_start != "pass":
            scenario = "mine.py"
            text = SCENARIO.format(
                on_start=fault.on_start, task=fault.task or 'self.client.get("/")'
            )
            (place / "mine.py").write_text(fault.scenario or text)
        plan = PLAN.format(scenario=scenario, host=fault.host, port=server.port, load=fault.load)
        if fault.base:
            plan = plan.replace('thresholds = ["ttfb.p50 < 10s"]', fault.rules or ARM_RULES)
            plan = plan.replace('"target"', '"candidate"') + BASE.format(port=beside.port)
        if any(fault.app):
            candidate, base = (how or "nothing" for how in fault.app)
            plan = APP_PLAN.format(rules=GATE_RULES, candidate=candidate, base=base)
            (place / "app.py").write_text(APP)
            (place / "fly.toml").write_text(FLY_TOML)
        (place / "plan.toml").write_text(WORLD if fault.world else plan)
        words = [sys.executable, "-m", "loadtest", "run", "plan.toml", "--out", "run", *fault.words]
        with (place / "out").open("w") as out, (place / "err").open("w") as err:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'{fault.shell} exec "$@"', "sh", *words],
                cwd=place,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TMPDIR": str(temporary), "COLUMNS": "120", **fault.environ},
            )
            return _watched(fault, Program(process), server, place, temporary)


def _watched(fault: Live, program: Program, server: Target, place: Path, temporary: Path) -> End:
    process, wrong = program.process, []
    began = time.monotonic()
    try:
        if fault.act is not None:
            fault.act(program, server, place)
        while process.poll() is None and time.monotonic() - began < HANG_S:
            program.look()
            time.sleep(0.05)
        if process.poll() is None:
            wrong.append(f"hangs: still there after {HANG_S:g} s")
        left = gone_within(program, TIDY_S) if not wrong else []
        wrong += [f"left behind: {one[:150]}" for one in left]
    finally:
        for pid in program.offspring if wrong else ():
            for number in (signal.SIGCONT, signal.SIGKILL):
                _kill(pid, number)
        if process.poll() is None:
            process.kill()
        process.wait()
    wrong += [f"left behind: {path.name}" for path in temporary.iterdir()]
    said = (place / "out").read_text(errors="replace") + (place / "err").read_text(errors="replace")
    if "Traceback (most recent call last)" in said.replace("  | Traceback", ""):
        wrong.append("traceback")
    if process.returncode not in fault.codes:
        wrong.append(f"exit code {process.returncode}, not of {sorted(fault.codes)}")
    if fault.told not in said:
        wrong.append(f"{fault.told!r} was not said")
    if fault.event and process.returncode == 0:
        told = [event["text"] for event in read(place / "run" / "summary.json")["events"]]
        if not any(fault.event in text for text in told):
            wrong.append(f"{fault.event!r} is no event of a run that passed: {told}")
    return End(process.returncode, said, tuple(wrong))


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# What is done to a run.


def until_stage(program: Program, place: Path, stage: str) -> None:
    """Wait for a stage: ``start``, ``world`` or a word that is said, or ``steady`` rows on disk."""
    if stage == "start":
        time.sleep(0.3)
    elif stage == "steady":
        program.wait_for(lambda: has_measured(place / "run"), "steady rows")
    else:
        program.wait_for(lambda: stage in (place / "err").read_text(), stage)


def signals(number: int, stage: str) -> Act:
    """Send the command line a signal."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, stage)
        program.look()
        program.process.send_signal(number)

    return act


def signals_in_turn(*numbers: int, stage: str = "steady") -> Act:
    """Send the command line one signal after the other, fifty milliseconds apart."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, stage)
        program.look()
        for number in numbers:
            program.process.send_signal(number)
            time.sleep(0.05)

    return act


def pulses(word: str, pause_s: float, gap_s: float, count: int) -> Act:
    """Stop a process of the run again and again, for a moment each."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        program.look()
        (pid, *_) = program.pids_of(word)
        for _ in range(count):
            _kill(pid, signal.SIGSTOP)
            time.sleep(pause_s)
            _kill(pid, signal.SIGCONT)
            time.sleep(gap_s)

    return act


def loses_folder(how: str) -> Act:
    """Take the run folder away: ``removed``, ``moved``, or with a file in its place."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        if how == "removed":
            shutil.rmtree(place / "run", ignore_errors=True)  # it is written to meanwhile
            return
        (place / "run").rename(place / "moved")
        if how == "a file":
            (place / "run").touch()

    return act


def forgets_names(program: Program, _server: Target, place: Path) -> None:
    """Empty the file of names that the run sees."""
    until_stage(program, place, "steady")
    (place / "hosts").write_text("127.0.0.1 localhost\n")


def runs_twice(program: Program, _server: Target, place: Path) -> None:
    """Start another run into the same folder; it has to be refused."""
    until_stage(program, place, "steady")
    words = [sys.executable, "-m", "loadtest", "run", "plan.toml", "--out", "run"]
    done = subprocess.run(words, cwd=place, capture_output=True, check=False, timeout=60)
    assert done.returncode == _PLAN, done.stderr


def hits(word: str, number: int, stage: str = "steady", again_s: float = 0.0) -> Act:
    """Send a process of the run a signal; ``again_s`` later it may go on."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, stage)
        program.look()
        (pid, *_) = program.pids_of(word)
        os.kill(pid, number)
        if again_s:
            time.sleep(again_s)
            _kill(pid, signal.SIGCONT)

    return act


def hits_app(region: str, number: int, again_s: float = 0.0) -> Act:
    """Send the app's program in a region a signal; ``again_s`` later it may go on."""

    def find(program: Program) -> int:
        apps = [pid for pid in program.offspring if "loadtest.refapp" in " ".join(words_of(pid))]
        return min(pid for pid in apps if f"FLY_REGION={region}" in _environment(pid))

    return _hits(find, number, again_s)


def hits_database(child: str, number: int, again_s: float = 0.0) -> Act:
    """Send a database server a signal, known by a child of it: ``walsender``, ``walreceiver``."""

    def find(program: Program) -> int:
        tree = processes()
        return next(
            tree[pid][0]
            for pid in program.offspring
            if pid in tree
            and words_of(pid)[0].startswith("postgres: ")
            and child in words_of(pid)[0]
        )

    return _hits(find, number, again_s)


def _hits(find: Callable[[Program], int], number: int, again_s: float) -> Act:
    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        program.look()
        pid = find(program)
        os.kill(pid, number)
        if again_s:
            time.sleep(again_s)
            _kill(pid, signal.SIGCONT)

    return act


def _environment(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return []


def both(first: Act, second: Act) -> Act:
    """Do one thing after another."""

    def act(program: Program, server: Target, place: Path) -> None:
        first(program, server, place)
        second(program, server, place)

    return act


def pauses(seconds: float) -> Act:
    """Stop the command line itself, and let it go on."""

    def act(program: Program, _server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        program.process.send_signal(signal.SIGCONT)

    return act


def target_dies(_program: Program, server: Target, place: Path) -> None:
    until_stage(_program, place, "steady")
    server.die()


def target_restarts(program: Program, server: Target, place: Path) -> None:
    target_dies(program, server, place)
    time.sleep(1)
    server.listen()


def base_turns(mode: str) -> Act:
    """Let the arm that is compared with behave otherwise from the steady stage on."""

    def act(program: Program, server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        assert server.beside is not None
        server.beside.mode = mode

    return act


def turns(mode: str) -> Act:
    """Let the target behave otherwise from the steady stage on."""

    def act(program: Program, server: Target, place: Path) -> None:
        until_stage(program, place, "steady")
        server.mode = mode

    return act
