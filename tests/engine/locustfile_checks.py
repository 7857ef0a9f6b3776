"""
Checks of the parts that play locustfiles, run as those of ``locust_checks.py`` are.

A server of gevent's answers in this process; the files are written into a folder of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from loadtest.engine.client.names import AddressResolver
from loadtest.engine.locustfile.configuration import with_configuration
from loadtest.engine.locustfile.load import load_locustfile
from loadtest.engine.locustfile.look import facts_of
from loadtest.engine.locustfile.notes import notes_of
from loadtest.engine.worker.closed import ReadyArrivals
from loadtest.engine.worker.player import Player
from loadtest.engine.worker.sources import crowd_of
from loadtest.engine.worker.users import UserOpener
from loadtest.errors import EngineError, LoadtestError
from loadtest.frozen import read, to_json
from loadtest.plan.locustfile import LocustCommand, LocustfileFacts, plan_of_locustfile
from loadtest.plan.model import LocustSettings
from loadtest.plan.order import RunOrder, Target
from loadtest.plan.resolve import plan_of_raw
from loadtest.plan.schedule import RegionSchedule

FOLDER = Path(tempfile.mkdtemp(prefix="locustfile-checks-"))
SHOP = """
import csv
from pathlib import Path
from locust import FastHttpUser, HttpUser, SequentialTaskSet, TaskSet, between, constant
from locust import constant_pacing, events, tag, task
from goods import LABELS

ROWS = list(csv.reader((Path(__file__).parent / "goods.csv").open()))
heard, seen = [], []

@events.init_command_line_parser.add_listener
def options(parser):
    parser.add_argument("--colour", default="red")

@events.request.add_listener
def told(request_type, name, response_time, response_length, exception, context, **kw):
    heard.append((request_type, name, response_time >= 0, response_length, exception is None))

class Deeper(TaskSet):
    @task
    def in_there(self):
        lines = self.client.get("/deep", stream=True).iter_lines(decode_unicode=True)
        self.client.get("/deep")
        seen.append([line[:5] for line in lines])
        self.interrupt()

class InOrder(SequentialTaskSet):
    @task
    def first(self):
        with self.client.get("/json", catch_response=True) as answer:
            seen.append((answer.json()["ok"], answer.elapsed.total_seconds() > 0))
            answer.failure("not good enough")
    @task
    def second(self):
        answer = self.client.post("/form", {"a": "b"}, name="form")
        seen.append((answer.status_code, answer.url.endswith("/there"), len(answer.history)))
        self.interrupt(reschedule=False)

class Shopper(HttpUser):
    wait_time = constant(0.01)
    weight = 2
    tasks = [InOrder, Deeper]
    def on_start(self):
        self.client.headers["X-Label"] = LABELS[0]
        self.client.auth = ("me", "word")
        self.client.get("/login")
        seen.append((self.client.cookies["sid"], self.environment.parsed_options.colour))

class Browser(FastHttpUser):
    wait_time = between(0.01, 0.02)
    fixed_count = 1
    @tag("read")
    @task(3)
    def page(self):
        with self.rest("GET", "/json", params={"q": ROWS[0][0]}) as answer:
            assert answer.js["ok"] is True
            assert answer.js["label"] == "", "label"
    @tag("broken")
    @task
    def broken(self):
        {}["nothing"]

class Base(HttpUser):
    abstract = True
    wait_time = constant_pacing(1)
"""


def answer(environ: dict[str, Any], start: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/form":
        start("302 Found", [("Location", "/there")])
        return [b""]
    label = environ.get("HTTP_X_LABEL", "")
    start("200 OK", [("Content-Type", "application/json"), ("Set-Cookie", "sid=7; Path=/")])
    asked.append((path, environ["QUERY_STRING"], environ.get("HTTP_AUTHORIZATION", "")[:6], label))
    return [json.dumps({"ok": True, "label": label}).encode()]


asked: list[tuple[str, str, str, str]] = []


class Rows:
    """Takes what a recorder takes."""

    def __init__(self) -> None:
        self.samples: list[Any] = []
        self.failed_rows: list[Any] = []
        self.notes: list[str] = []
        self.failures = self
        self.failed: Any = None

    def record(self, sample: Any) -> None:
        self.samples.append(sample)

    def fail(self, arrival: Any, _start_ns: int, _kind: str, name: str) -> None:
        self.failed_rows.append((arrival, name))

    def note(self, _kind: str, _arm: int, _scenario: int, _name: str, sentence: str) -> None:
        self.notes.append(sentence)


def write(name: str, text: str) -> str:
    (FOLDER / name).write_text(text)
    return str(FOLDER / name)


def refusal(name: str, text: str, **settings: Any) -> str:
    """Return the sentence that a locustfile is refused with."""
    path = write(name, text)
    try:
        facts_of(load_locustfile(path, LocustSettings(**settings), ""))
    except LoadtestError as error:
        return str(error)
    raise AssertionError(f"{name} was not refused")


def check_a_locustfile_is_played_as_it_is() -> None:
    write("goods.csv", "tea,1\n")
    write("goods.py", 'LABELS = ["green"]\n')
    path = write("shop.py", SHOP)
    server = WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    url = f"http://127.0.0.1:{server.server_port}"
    facts = LocustfileFacts(("Shopper", "Browser"), ("", ""), (), 0.0, (), ())
    command = LocustCommand(path, (url,), users=4, spawn_rate=8, run_time_s=1.2)
    raw, _ = plan_of_locustfile(command, facts)
    plan = plan_of_raw(raw, {})
    assert plan.locustfile is not None
    loaded = load_locustfile(path, plan.locustfile, url)
    module: Any = sys.modules["shop"]
    assert [cls.__name__ for cls in loaded.classes] == ["Shopper", "Browser"]
    targets = {"here": {"target": Target(url=url)}}
    order = RunOrder(run_id="x", plan=plan, targets=targets)
    schedule = RegionSchedule(plan, "here")
    rows: Any = Rows()
    opener = UserOpener(
        order, ("target",), "here",
        targets=targets["here"], record=rows.record, environment=None,
        resolver=AddressResolver(), locustfile=loaded,
    )  # fmt: skip
    crowd = crowd_of(order, schedule, loaded.classes, (), (0, 1))
    assert [change.kind for change in crowd] == [1, 0, 0, 0]
    source = ReadyArrivals(schedule, (0, 1), crowds=(crowd,))
    player = Player(source, loaded.classes, rows, opener.open_user)
    complete: list[int] = []
    source.spawned = complete.append
    player.prepare()
    began_ns = time.monotonic_ns()
    player.start(began_ns, 0)
    assert player.finished.wait(10)
    assert player.users == 4
    assert complete == [4]
    player.close(1.0)
    server.stop()
    names = {sample.name: sample for sample in rows.samples}
    assert set(names) == {
        *("GET /login", "GET /json", "GET /deep", "POST form", "POST form (redirected)"),
    }, set(names)
    outside = [s for s in rows.samples if s.name == "GET /login"]
    assert len(outside) == 3
    assert all(sample.context[0] < 0 for sample in outside)
    due = [(s.intended_ns, s.context[5]) for s in rows.samples if s.intended_ns]
    assert {(due_ns - began_ns) // 1000 - due_us for due_ns, due_us in due} == {0}
    inside = [s.context for s in rows.samples if s.name != "GET /login"]
    assert {context[2] for context in inside} == {0, 1}  # warm-up, then steady
    assert {context[4] for context in inside} == {0, 1}
    played = {context[0] for context in inside} | {row[0][0] for row in rows.failed_rows}
    assert played == set(range(player.played))
    assert set(rows.notes) == {"Browser: KeyError in shop.py:61: 'nothing'"}, set(rows.notes)
    judged = {(s.name, s.context[4], s.error) for s in rows.samples}
    assert ("GET /json", 0, "check") in judged
    assert ("GET /json", 1, "") in judged
    assert ("POST form", 0, "") in judged
    found = [entry for entry in module.seen if entry != ['{"ok"']]
    assert {("7", "red"), (True, True), (200, True, 1)} == set(found)
    assert len(found) < len(module.seen)
    assert ("/json", "q=tea", "", "") in asked
    assert ("/deep", "", "Basic ", "green") in asked
    assert {entry[:2] for entry in module.heard} >= {("GET", "/json"), ("POST", "form")}
    assert loaded.environment.stats.total.num_requests == len(module.heard)


def check_tags_and_names_choose_what_is_played() -> None:
    text = SHOP.replace("from goods import LABELS", "LABELS = ['x']")
    path = write("tagged.py", text)
    only = load_locustfile(path, LocustSettings(tags=("read",)), "")
    assert [cls.__name__ for cls in only.classes] == ["Browser"]
    assert only.idle == ("Shopper",)
    named = load_locustfile(
        write("named.py", text), LocustSettings(classes=("Shopper",), options=("--colour=b",)), ""
    )
    assert [cls.__name__ for cls in named.classes] == ["Shopper"]
    assert named.environment.parsed_options is not None
    assert named.environment.parsed_options.colour == "b"


def check_what_cannot_be_played_is_refused_with_file_and_line() -> None:
    head = "from locust import HttpUser, User, LoadTestShape, constant, task\n"
    user = "class A(HttpUser):\n    @task\n    def t(self): pass\n"
    cases = {
        "x = 1\n": "holds no user class that can be played",
        "import nowhere\n": "line 1: ModuleNotFoundError",
        "def f(:\n": "line 1",
        head + "class A(HttpUser):\n    pass\n": "line 2: class A has no task",
        head + user.replace("HttpUser", "User"): "line 2: class A is no HttpUser",
        head + user + "class S(LoadTestShape):\n    def tick(self): return self.runner.stats\n": (
            "S.tick() at 0 s: AttributeError"
        ),
        head + user + "class S(LoadTestShape):\n    def tick(self): return 3\n": "answered 3 at 0",
        head + user + "exit(4)\n": "SystemExit: 4",
    }
    for number, (text, words) in enumerate(cases.items()):
        sentence = refusal(f"bad_{number}.py", text)
        assert words in sentence, f"{words!r} not in {sentence}"
        assert "tick()" in words or "answered" in words or str(FOLDER) in sentence
        assert "\n" not in sentence
    assert "no user class 'B'; there are A" in refusal("b.py", head + user, classes=("B",))
    assert "leave no task" in refusal("t.py", head + user, tags=("x",))
    assert "--strange" in refusal("o.py", head + user, options=("--strange",))


def check_a_shape_is_asked_beforehand() -> None:
    text = (
        "from locust import HttpUser, LoadTestShape, task\n"
        "class A(HttpUser):\n    @task\n    def t(self): pass\n"
        "class S(LoadTestShape):\n"
        "    held = None\n"
        "    def tick(self):\n"
        "        if self.get_current_user_count() < 6: return 6, 2\n"
        "        if self.held is None:\n"
        "            self.held = True\n"
        "            self.reset_time()\n"
        "        return (3, 10, [A]) if self.get_run_time() < 4 else None\n"
    )
    facts = facts_of(load_locustfile(write("shape.py", text), LocustSettings(), ""))
    found = [(s.at_s, s.users, s.spawn_rate, s.scenarios) for s in facts.steps]
    assert found[0] == (0, 6, 2, ())
    assert (3, 10, ("A",)) in [step[1:] for step in found]


def check_what_has_no_meaning_is_told_once_by_line() -> None:
    path = write(
        "odd.py",
        "import requests\n"
        "from locust import FastHttpUser, events\n"
        "class A(FastHttpUser):\n"
        "    insecure = True\n"
        "    def t(self):\n"
        "        self.client.get('/', verify=False)\n"
        "        self.client.get('/', verify=False)\n"
        "        requests.get('http://elsewhere')\n"
        "        events.request.fire(name='x')\n"
        "        self.environment.process_exit_code = 1\n"
        "        self.client.proxies = {}\n",
    )
    found = [note.removeprefix(f"{path}, ") for note in notes_of(Path(path))]
    lines = sorted(int(note.partition(":")[0].removeprefix("line ")) for note in found)
    assert lines == [4, 6, 8, 9, 10, 11], found


def check_a_run_of_the_scripts_own_is_refused_with_its_line() -> None:
    head = (
        "from locust import HttpUser, run_single_user, task\nfrom locust.env import Environment\n"
    )
    user = "class A(HttpUser):\n    @task\n    def t(self): pass\n"
    for number, call in enumerate(
        ("Environment(user_classes=[A]).create_local_runner()", "run_single_user(A)")
    ):
        sentence = refusal(f"own_{number}.py", f"{head}{user}{call}\n")
        assert "line 6: it starts a load of its own" in sentence, sentence
        path = write(f"main_{number}.py", f"{head}{user}if __name__ == '__main__':\n    {call}\n")
        assert facts_of(load_locustfile(path, LocustSettings(), "")).classes == ("A",)


def check_a_message_reaches_the_listeners_of_its_own_worker() -> None:
    text = (
        "from locust import HttpUser, events, task\n"
        "heard = []\n"
        "@events.init.add_listener\n"
        "def init(environment, runner, **_):\n"
        "    runner.register_message('names', lambda environment, msg: heard.append(msg.data))\n"
        "@events.test_start.add_listener\n"
        "def start(environment, **_):\n"
        "    environment.runner.send_message('names', environment.runner.target_user_count)\n"
        "class A(HttpUser):\n    @task\n    def t(self): pass\n"
    )
    loaded = load_locustfile(write("told.py", text), LocustSettings(), "")
    loaded.fire("init", environment=loaded.environment, runner=loaded.runner, web_ui=None)
    loaded.runner.target_user_count = 7
    loaded.fire("test_start", environment=loaded.environment)
    assert sys.modules["told"].heard == [7]


def check_settings_of_locust_fill_what_the_command_leaves_open() -> None:
    before, place = os.getcwd(), FOLDER / "configured"
    place.mkdir()
    (place / "locust.conf").write_text(
        "users = 3\nspawn-rate = 2\nrun-time = 1m\nhost = http://shop\nheadless = true\n"
        "html = x.html\nmy-colour = red\n"
    )
    (place / "pyproject.toml").write_text('[tool.locust]\ntags = ["fast"]\n')
    os.environ["LOCUST_SPAWN_RATE"] = "7"
    os.chdir(place)
    try:
        found, notes = with_configuration(LocustCommand("x.py", users=9))
        typed, _ = with_configuration(LocustCommand("x.py", ("http://typed",), tags=("slow",)))
        os.environ["LOCUST_SPAWN_RATE"] = "many"
        with pytest.raises(EngineError, match=r"LOCUST_\.\.\. variables: .*many"):
            with_configuration(LocustCommand("x.py"))
    finally:
        os.chdir(before)
        del os.environ["LOCUST_SPAWN_RATE"]
    assert (found.hosts, found.users, found.spawn_rate) == (("http://shop",), 9, 7.0), found
    assert (found.run_time_s, found.tags) == (60.0, ("fast",)), found
    assert found.options == ("--my-colour=red",), found
    assert (typed.hosts, typed.tags, typed.users) == (("http://typed",), ("slow",), 3), typed
    assert notes == ["locust.conf: html: no effect here"], notes
    assert read(LocustCommand, json.loads(json.dumps(to_json(found))), "x") == found


def main() -> None:
    failed = {}
    checks = {name: value for name, value in globals().items() if name.startswith("check_")}
    for name, check in checks.items():
        try:
            check()
        except BaseException:
            failed[name] = traceback.format_exc()
    json.dump({"ran": list(checks), "failed": failed}, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(FOLDER)
