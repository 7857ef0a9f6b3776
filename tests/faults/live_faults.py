"""The catalogue of live faults, with the right end of each."""

from __future__ import annotations

import signal

from live import (
    BAD,
    GATE_RULES,
    Live,
    base_turns,
    both,
    forgets_names,
    hits,
    hits_app,
    hits_database,
    loses_folder,
    pauses,
    pulses,
    runs_twice,
    signals,
    signals_in_turn,
    target_dies,
    target_restarts,
    turns,
)

GOOD = frozenset({0})
ANY = BAD | GOOD
FAIL = frozenset({10})
INVALID = frozenset({12})
ENGINE = frozenset({15})
PLAN = frozenset({13})
WORLD_FAILED = frozenset({14})
INTERRUPTED = frozenset({130})
KILLED = frozenset({-signal.SIGKILL})

WORLD = "loadtest.world"
LINKS = "loadtest.world.links.process"
COORDINATOR = "loadtest.engine.coordinator.main"
WORKER = "loadtest.engine.worker.main"
GUARDIAN = "loadtest.world.guard.guardian"

FROM_THE_START = (
    *(("500", "HTTP 500"), ("404", "HTTP 404"), ("401", "HTTP 401"), ("301", "a redirect")),
    *(("no status", "/:"), ("hangs", "/:"), ("resets", "/:"), ("endless head", "/:")),
    *(("head cut short", "/:"), ("body cut short", "/:"), ("length below zero", "/:")),
    *(("bad chunks", "/:"), ("only 100s", "/:")),
)
"""The look before load meets these: nothing is loaded."""

FROM_THEN_ON = (
    *(("500", "HTTP 500"), ("503", "HTTP 503"), ("301", "HTTP 301"), ("garbage", "not HTTP")),
    *(("hangs", "no answer in time"), ("resets", "closed before"), ("closes unasked", "closed")),
    *(("body cut short", "closed before"), ("body that hangs", "no answer in time")),
    *(("bad chunks", "not HTTP"), ("only 100s", ""), ("status 999", "")),
)
"""The load meets these, after a good beginning."""

HARMLESS = ("closes after each", "slow", "trickles", "odd charset", "odd timing", "odd region")

TARGETS = (
    Live("nothing is wrong", GOOD, "verdict: PASS"),
    *(Live(f"target: {mode}", ENGINE, told, mode) for mode, told in FROM_THE_START),
    *(
        Live(f"target in mid-run: {mode}", BAD, told, act=turns(mode))
        for mode, told in FROM_THEN_ON
    ),
    *(Live(f"target that is odd: {mode}", ANY, "verdict", act=turns(mode)) for mode in HARMLESS),
    Live("target in mid-run: stalls", ANY, "verdict", act=turns("stalls")),
    *(Live(f"target in mid-run: {mode}", ANY, "verdict", act=turns(mode))
      for mode in ("stalls 1 s in 8", "leaks", "another page")),
    Live("target dies in mid-run", BAD, "connection refused", act=target_dies),
    Live("target is started anew in mid-run", BAD, "connection refused", act=target_restarts),
    Live("closed model", GOOD, "verdict: PASS", load='model = "closed"',
         scenario="""
from locust import task
from loadtest.engine.user import TTFBUser
class Mine(TTFBUser):
    wait_time = lambda self: 0.3
    @task
    def page(self):
        self.client.get("/")
"""),
    Live("closed model, target in mid-run: 500", BAD, "HTTP 500", act=turns("500"),
         load='model = "closed"', task='self.client.get("/"); time.sleep(0.2)'),
)  # fmt: skip

SCENARIOS = (
    Live("task raises before it asks", INVALID, "ValueError", task="raise ValueError('no')"),
    Live("task raises after it asked", BAD, "", task='self.client.get("/"); raise KeyError("x")'),
    Live("task asks with a refused argument", INVALID, "ValueError",
         task='self.client.get("/", headers={"a": "b\\nc"})'),
    Live("task calls sys.exit", INVALID, "SystemExit", task="sys.exit(3)"),
    Live("task ends its process", BAD, "", task="os._exit(3)"),
    Live("task kills its process", BAD, "", task="os.kill(os.getpid(), signal.SIGKILL)"),
    Live("task stops its process", BAD, "", task="os.kill(os.getpid(), signal.SIGSTOP)"),
    Live("task interrupts itself", BAD, "", task="raise KeyboardInterrupt"),
    Live("task never yields", BAD, "", task="while True: pass"),
    Live("task sleeps for long", BAD, "", task="time.sleep(100)"),
    Live("task recurses", INVALID, "RecursionError", task="self.page()"),
    Live("task asks nothing", BAD, "", task="pass"),
    Live("name is no text", ANY, "verdict", task='self.client.get("/", name=7)'),
    Live("name is half a letter", ANY, "verdict", task='self.client.get("/", name="\\ud800")'),
    Live("name moves the cursor", ANY, "verdict",
         task='self.client.get("/", name="\\x1b[2J\\n::error")'),
    Live("a name for each request", ANY, "verdict",
         task='self.client.get("/", name=str(time.time()))'),
    Live("on_start raises", ENGINE, "on_start", on_start="raise ValueError('no')"),
    Live("on_start never ends", ENGINE, "on_start", on_start="time.sleep(3600)"),
    Live("scenario without a class", PLAN, "mine.py", scenario="x = 1"),
    Live("scenario that exits", PLAN, "", scenario="import sys; sys.exit(0)"),
    Live("scenario that does not parse", PLAN, "line 1", scenario="def broken(:"),
    Live("scenario that is not UTF-8", PLAN, "", scenario="x = '\\x00'"),
)  # fmt: skip

PROCESSES = (
    *(Live(f"{name} killed in mid-run", BAD, "", act=hits(word, signal.SIGKILL))
      for name, word in (("worker", WORKER), ("coordinator", COORDINATOR), ("world", WORLD),
                         ("links", LINKS))),
    *(Live(f"{name} ended in mid-run", BAD, "", act=hits(word, signal.SIGTERM))
      for name, word in (("worker", WORKER), ("coordinator", COORDINATOR), ("world", WORLD))),
    *(Live(f"{name} stopped for 2 s in mid-run", BAD, "",
           act=hits(word, signal.SIGSTOP, again_s=2.0))
      for name, word in (("worker", WORKER), ("world", WORLD))),
    *(Live(f"{name} stopped for good in mid-run", BAD, "", act=hits(word, signal.SIGSTOP))
      for name, word in (("worker", WORKER), ("coordinator", COORDINATOR), ("world", WORLD),
                         ("links", LINKS))),
    *(Live(f"links and worker stopped for {seconds:g} s in mid-run", BAD, "",
           act=both(hits(LINKS, signal.SIGSTOP, again_s=seconds), hits(WORKER, signal.SIGSTOP,
                                                                     again_s=seconds)))
      for seconds in (1.0, 2.0)),
    Live("guardian stopped for 2 s in mid-run", ANY, "verdict",
         act=hits(GUARDIAN, signal.SIGSTOP, again_s=2.0)),
    Live("guardian killed in mid-run", ANY, "", act=hits(GUARDIAN, signal.SIGKILL)),
    Live("command line stopped for 2 s in mid-run", ANY, "verdict", act=pauses(2.0)),
    *(Live(f"command line: {number.name} at {stage}", INTERRUPTED, "", act=signals(number, stage))
      for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
      for stage in ("Machines API", "links: ", "steady")),
    *(Live(f"command line: killed at {stage}", KILLED, "", act=signals(signal.SIGKILL, stage))
      for stage in ("start", "Machines API", "links: ", "steady", "measured: ")),
)  # fmt: skip

SURROUNDINGS = (
    Live("output closed", GOOD, "", words=(), shell="exec >&-;"),
    Live("no room for output", GOOD, "", shell="exec >/dev/full;"),
    Live("all streams closed", GOOD, "", shell="exec >&- 2>&- <&-;"),
    Live("output is ASCII", GOOD, "verdict: PASS", environ={"PYTHONIOENCODING": "ascii"}),
    Live("64 open files", ANY, "", shell="ulimit -n 64;"),
    Live("40 open files", ANY, "", shell="ulimit -n 40;"),
    Live("files of 4 KB at most", BAD | {13}, "", shell="ulimit -f 8;"),
    Live("files of 64 KB at most", ANY | {13}, "", shell="ulimit -f 128;"),
    Live("no temporary folder", ANY, "", environ={"TMPDIR": "/nonexistent"}),
    Live("no PATH", ANY, "", environ={"PATH": ""}),
    Live("no home", GOOD, "", environ={"HOME": "/nonexistent"}),
    Live("odd log level", ANY | {13}, "", environ={"LOADTEST_LOG": "LOUD"}),
    Live("a proxy in the environment", GOOD, "verdict: PASS", environ={
        "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}),
    Live("no width", GOOD, "verdict: PASS", environ={"COLUMNS": "0"}),
    Live("a job summary that is a folder", GOOD, "verdict: PASS",
         environ={"GITHUB_STEP_SUMMARY": "/", "GITHUB_ACTIONS": "true"}),
    Live("out in a file's place", frozenset({13}), "--out", words=("--out", "plan.toml")),
    Live("out under a file", frozenset({13}), "--out", words=("--out", "plan.toml/run")),
    Live("out where nothing can be", frozenset({13}), "--out", words=("--out", "/proc/run")),
    Live("out that is here", frozenset({13}), "--out", words=("--out", ".")),
)  # fmt: skip

ARMS = (
    Live("equal arms", frozenset({0, 11}), "verdict", base="good"),
    *(Live(f"closed model: half of the users of {who} leave", INVALID, "left by themselves",
           base="good", load='model = "closed"', scenario=f"""
from locust import task
from locust.exception import StopUser
from loadtest.engine.user import TTFBUser
class Mine(TTFBUser):
    wait_time = lambda self: 0.2
    there, asked = [], 0
    def on_start(self):
        self.there.append(self.deployment)
        self.odd = self.there.count(self.deployment) % 2
    @task
    def page(self):
        self.asked += 1
        if self.deployment == "{who}" and self.odd and self.asked > 12:
            raise StopUser
        self.client.get("/")
""") for who in ("candidate", "base")),
    Live("candidate in mid-run: 500", FAIL, "HTTP 500", act=turns("500"), base="good"),
    Live("base in mid-run: 500", INVALID, "base", act=base_turns("500"), base="good"),
    Live("both in mid-run: 500", BAD, "HTTP 500", act=both(turns("500"), base_turns("500")),
         base="good"),
    Live("candidate is slow", FAIL, "verdict: FAIL", mode="slow", base="good"),
    Live("base is slow", frozenset({0, 11}), "verdict", base="slow"),
    Live("candidate stalls 1 s in 8 from mid-run on", BAD, "verdict", act=turns("stalls 1 s in 8"),
         base="good"),
    Live("base hangs in mid-run", BAD, "base", act=base_turns("hangs"), base="good"),
    Live("candidate hangs in mid-run", frozenset({10, 12}), "no answer in time",
         act=turns("hangs"), base="good"),
)  # fmt: skip

IN_A_WORLD = (
    Live("a world: nothing is wrong", GOOD, "verdict: PASS", world=True),
    *(Live(f"a world: app in {region} {what}", ANY, "verdict", world=True,
           event=f"in {region} ended", act=hits_app(region, number))
      for region in ("cdg", "ord")
      for what, number in (("killed", signal.SIGKILL), ("ended", signal.SIGTERM))),
    Live("a world: app stopped for 2 s", ANY, "verdict", world=True,
         act=hits_app("ord", signal.SIGSTOP, again_s=2.0)),
    Live("a world: app stopped for good", BAD, "no answer in time", world=True,
         act=hits_app("ord", signal.SIGSTOP)),
    *(Live(f"a world: {role} of the database {what}", codes, told, world=True,
           act=hits_database(child, number, again_s))
      for role, child in (("primary", "walsender"), ("replica", "walreceiver"))
      for what, codes, told, number, again_s in (
          ("killed", BAD, "", signal.SIGKILL, 0.0),
          ("ended at once", BAD, "", signal.SIGINT, 0.0),  # SIGTERM lets clients stay
          ("stopped for 2 s", ANY, "verdict", signal.SIGSTOP, 2.0),
      )),
)  # fmt: skip


def full(folder: str, kib: int) -> str:
    """Return the shell's words that put a small disk in the place of a folder."""
    inner = f'mount -t tmpfs -o size={kib}k none {folder} && exec "$@"'
    return f"mkdir -p {folder}; exec unshare --map-root-user --mount sh -c '{inner}' sh \"$@\";"


def named(name: str) -> str:
    """Return the shell's words that give this machine a name, in a file that can be edited."""
    inner = 'mount --bind hosts /etc/hosts && exec "$@"'
    line = f"cp /etc/hosts hosts; echo 127.0.0.1 {name} >> hosts;"
    return f"{line} exec unshare --map-root-user --mount sh -c '{inner}' sh \"$@\";"


NAMES = (
    Live("a name", GOOD, "verdict: PASS", host="site.test", shell=named("site.test")),
    Live("a name that nobody knows", ENGINE, "not known", host="site.test"),
    Live("a name is forgotten in mid-run", BAD, "name not resolved", host="site.test",
         shell=named("site.test"), act=both(forgets_names, turns("closes after each"))),
    Live("a name is forgotten in mid-run, connections stay", ANY, "verdict", host="site.test",
         shell=named("site.test"), act=forgets_names),
)  # fmt: skip

FULL_DISKS = (
    *(Live(f"a disk of {kib} KiB for the run folder", ends, "No space left",
           words=("--out", "disk/run"), shell=full("disk", kib))
      # what was measured fits the last one, the report does not: the verdict stands without it
      for kib, ends in ((4, BAD), (40, BAD), (120, ANY))),
    Live("a disk of 64 KiB for temporary files", ANY | {13}, "", shell=full("tmp", 64)),
)  # fmt: skip
"""Needs user namespaces; without them the shell says so and nothing is run."""

NO_PASS = BAD - {14}

BENT_ARMS = (
    *(Live(f"candidate: {mode}", NO_PASS, "verdict", mode, rules=GATE_RULES, base="good")
      for mode in ("frozen 0.3 s in 2", "frozen 1 s in 8", "early hints", "body is late",
                   "head is late but for a byte")),
    *(Live(f"candidate in mid-run: {mode}", NO_PASS, told, act=turns(mode), base="good")
      for mode, told in (("200, 301, 429", "HTTP 429"), ("half 500", "HTTP 500"),
                         ("302 elsewhere", "HTTP 302"), ("long status", "HTTP 500"),
                         ("status of a terminal", "HTTP 500"), ("closes soon", "second time"))),
    Live("candidate: HTTP/1.0", ANY, "verdict", "HTTP/1.0", base="good"),
    Live("base: HTTP/1.0", INVALID, "nobody asked for", base="HTTP/1.0"),
    Live("base: closes soon", INVALID, "second time", base="closes soon"),
    Live("base: 500", INVALID, "What failed of base", base="500"),
    Live("base: half 500", ANY, "× HTTP 500", base="half 500", rules=GATE_RULES),
    Live("candidate: nothing, 200", ANY, "Answers differ in size", "nothing, 200",
         base="another page"),
)  # fmt: skip

LEAVING = """
import gevent, os, signal, socket, time
from gevent import monkey
from locust import task
from loadtest.engine.user import TTFBUser
class Mine(TTFBUser):
    turn = 0
    def on_start(self):
        {on_start}
    @task
    def page(self):
        {task}
    def on_stop(self):
        {on_stop}
"""


def leaving(
    task: str = 'self.client.get("/")', on_start: str = "pass", on_stop: str = "pass"
) -> str:
    """Return a scenario with an ``on_stop``."""
    return LEAVING.format(task=task, on_start=on_start, on_stop=on_stop)


BENT_SCENARIOS = (
    Live("task swallows what it cannot ask", ENGINE, "no task of mine.py",
         scenario=leaving("try: raise ValueError\n        except ValueError: pass")),
    Live("every other task asks nothing", INVALID, "tasks that end without a request",
         scenario=leaving('self.turn += 1\n        self.turn % 2 and self.client.get("/")')),
    Live("on_stop raises", GOOD, "verdict: PASS", scenario=leaving(on_stop="raise ValueError")),
    Live("on_stop never ends", GOOD, "verdict: PASS", scenario=leaving(on_stop="time.sleep(999)")),
    Live("task ends its greenlet", BAD, "GreenletExit in mine.py",
         scenario=leaving('self.client.get("/"); raise gevent.GreenletExit')),
    Live("task stops its user", GOOD, "verdict: PASS",
         scenario=leaving('self.client.get("/"); self.stop()')),
    Live("task ends the load", INVALID, "stopped",
         scenario=leaving('self.client.get("/"); self.environment.runner.quit()')),
    Live("an alarm ends the process", INVALID | ENGINE, "worker",
         scenario=leaving(on_start="signal.setitimer(signal.ITIMER_REAL, 1)")),
    Live("a greenlet eats the CPU", INVALID, "loop", scenario=leaving(on_start=(
        "gevent.spawn(lambda: [gevent.sleep(0.001) for _ in iter(int, 1) if sum(range(2_000_000))])"
    ))),
    Live("a thread eats the CPU", INVALID, "", scenario=leaving(on_start=(
        'monkey.get_original("_thread", "start_new_thread")(lambda: [0 for _ in iter(int, 1)], ())'
    ))),
    Live("clocks stand still", INVALID, "", scenario=leaving(on_start=(
        "time.time = time.monotonic = lambda: 5.0; time.monotonic_ns = time.time_ns = lambda: 5"
    ))),
    Live("task leaks sockets", ANY, "verdict", shell="ulimit -n 2000;", scenario=leaving(
        'globals().setdefault("kept", []).extend(socket.socket() for _ in range(20)); '
        'self.client.get("/")'
    )),
    Live("task prints what a terminal obeys", ANY, "verdict", scenario=leaving(
        'print("x\\x1b[2J" * 9_000, "\\n::error::y"); self.client.get("/")'
    )),
    Live("task leaves a child", ANY, "verdict", scenario=leaving(
        'self.client.get("/"); self.turn or os.spawnlp(os.P_NOWAIT, "setsid", "setsid", "sleep", '
        '"999"); self.turn = 1'
    )),
    Live("task excuses each 500", GOOD, "× 500", act=turns("500"), scenario=leaving(
        'with self.client.get("/", catch_response=True) as answer: answer.success()'
    )),
)  # fmt: skip

DIED = frozenset({-signal.SIGINT, 130})

MORE_SIGNALS = (
    *(Live(f"command line: SIGINT twice at {stage}", INTERRUPTED, "", act=signals_in_turn(
        signal.SIGINT, signal.SIGINT, stage=stage))
      for stage in ("Machines API", "links: ", "steady", "measured: ")),
    Live("command line: three kinds of signal", INTERRUPTED, "", act=signals_in_turn(
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    Live("command line: SIGINT ten times", DIED, "", act=signals_in_turn(*[signal.SIGINT] * 10)),
    *(Live(f"command line: {number.name} at measured: ", INTERRUPTED | GOOD, "",
           act=signals(number, "measured: "))
      for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    *(Live(f"command line: {number.name}", frozenset({-number}), "",
           act=signals(number, "steady"))
      for number in (signal.SIGQUIT, signal.SIGUSR1)),
    Live("command line: SIGALRM", INTERRUPTED, "", act=signals(signal.SIGALRM, "steady")),
    Live("command line: SIGPIPE", ANY, "verdict", act=signals(signal.SIGPIPE, "steady")),
    Live("worker stopped for 0.2 s, eight times", BAD, "verdict", act=pulses(WORKER, 0.2, 0.5, 8)),
    *(Live(f"{name} stopped for 30 ms, forty times", ANY, "verdict",
           act=pulses(word, 0.03, 0.1, 40))
      for name, word in (("worker", WORKER), ("links", LINKS), ("world", WORLD))),
    Live("coordinator stopped for 3 s", ANY, "verdict",
         act=hits(COORDINATOR, signal.SIGSTOP, again_s=3.0)),
)  # fmt: skip

MORE_SURROUNDINGS = (
    *(Live(f"the run folder is {how} in mid-run", INVALID, "was removed or moved",
           act=loses_folder(how)) for how in ("removed", "moved")),
    Live("a file takes the run folder's place", BAD, "run", act=loses_folder("a file")),
    Live("two runs into one folder", ANY, "verdict", act=runs_twice),
    Live("a language of ASCII", ANY, "verdict", environ={"LC_ALL": "C", "PYTHONUTF8": "0"}),
    Live("a job summary that is a pipe", GOOD, "GITHUB_STEP_SUMMARY", shell="mkfifo pipe;",
         environ={"GITHUB_STEP_SUMMARY": "pipe"}),
    Live("a job summary on a full disk", GOOD, "GITHUB_STEP_SUMMARY",
         environ={"GITHUB_STEP_SUMMARY": "/dev/full"}),
    Live("an output that is a pipe", PLAN, "is a device, a pipe", shell="mkfifo pipe;",
         words=("--output", "csv=pipe")),
    Live("an output that is a device", PLAN, "is a device, a pipe", shell="ln -s /dev/null null;",
         words=("--output", "json=null")),
    Live("an output that nobody takes", ANY, "prometheus-rw",
         words=("--output", "prometheus-rw=http://127.0.0.1:1/x")),
    Live("600 MB of addresses", ANY, "", shell="ulimit -v 600000;"),
    Live("900 MB of addresses", ANY, "verdict", shell="ulimit -v 900000;"),
    Live("no right to what is written", ANY, "verdict", shell="umask 777;"),
    Live("a stack of 256 KB", ANY, "verdict", shell="ulimit -s 256;"),
    Live("the lowest priority", ANY, "verdict",
         shell="exec nice -n 19 sh -c 'exec \"$@\"' sh \"$@\";"),
)  # fmt: skip

SMALL_APPS = (
    Live("an app of two arms: nothing is wrong", frozenset({0, 11, 12}), "verdict",
         app=("nothing", "nothing")),
    *(Live(f"candidate's app in ord {how}", NO_PASS, told, app=(how, ""))
      for how, told in (("500", "HTTP 500"), ("hangs", "no answer in time"), ("is slow", "ord"),
                        ("freezes", "ord"), ("exits", "ended (exit code 3)"),
                        ("crashes", "ended (exit code"), ("replays to region=nrt", "HTTP 503"),
                        ("replays to region=ord", "HTTP 502"),
                        ("replays to ;;region=;=", "HTTP 502"),
                        ("sends escapes", "HTTP 502"), ("sends 30 MB", ""),
                        ("listens no more", "ord"))),
    *(Live(f"candidate's app in ord {how}", frozenset({0, 11, 12}), "verdict", app=(how, ""))
      for how in ("prints", "leaves children", "is deaf", "hears itself alone")),
    Live("candidate's app in ord ends at its start", WORLD_FAILED, "no such table: pages",
         app=("ends at its start", "")),
    Live("base's app in ord: 500", INVALID, "What failed of base", app=("", "500")),
    Live("base's app in ord exits", ANY, "ended (exit code 3)", app=("", "exits")),
)  # fmt: skip

LIVE = (*TARGETS, *SCENARIOS, *PROCESSES, *SURROUNDINGS, *ARMS, *IN_A_WORLD, *FULL_DISKS,
        *BENT_ARMS, *BENT_SCENARIOS, *MORE_SIGNALS, *MORE_SURROUNDINGS, *NAMES,
        *SMALL_APPS)  # fmt: skip
