"""
Checks of the parts that import Locust, which patches the process it is imported in.

``python locust_checks.py`` runs them all in a process of its own and prints, as JSON, what failed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import tempfile
import time
import traceback
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import msgpack
import zmq
from gevent import socket
from gevent.event import Event
from locust import User, task
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import WorkerNode

from loadtest.engine.client.options import OptionError, settle
from loadtest.engine.coordinator.dispatch import PinnedDispatcher
from loadtest.engine.locustfile.importing import ENVIRONMENT
from loadtest.engine.locustfile.runner import environment_of_scenario
from loadtest.engine.user import TTFBUser
from loadtest.engine.wire.protocol import CurveKeys
from loadtest.engine.wire.secure_rpc import SecureClient, SecureServer, parse_message, shield
from loadtest.engine.worker.closed import ReadyArrivals
from loadtest.engine.worker.player import Player
from loadtest.engine.worker.scenario import load_scenario
from loadtest.engine.worker.scheduled import ScheduledArrivals
from loadtest.errors import EngineError
from loadtest.plan.apps import Deployment
from loadtest.plan.crowd import Share, changes
from loadtest.plan.model import Load, Plan, UserStep
from loadtest.plan.resolve import load_plan
from loadtest.plan.schedule import Chunk, RegionSchedule

LOAD = {"rate": 100, "duration_s": 0.5, "warmup_s": 0, "block_s": 0.1}


def sentence_of(call: Callable[[], object]) -> str:
    """Return what the EngineError says that ``call`` has to raise."""
    try:
        call()
    except EngineError as error:
        return str(error)
    raise AssertionError("nothing was raised")


class FakeClient:
    """Takes the time it is told to, and remembers what it was asked."""

    def __init__(self, heard: list[Any], pause_s: float) -> None:
        self.heard, self.pause_s = heard, pause_s

    asked = True

    def begin(self, due_ns: int, arrival: Any, *, first_visit: bool = False) -> None:
        self.heard.append(("begin", time.monotonic_ns() - due_ns, arrival))

    def close(self) -> None:
        self.heard.append(("close", 0, None))

    def get(self) -> None:
        if self.pause_s:
            gevent.sleep(self.pause_s)


class FakeRecorder:
    def __init__(self) -> None:
        self.dropped: list[Any] = []
        self.failed_rows: list[Any] = []
        self.notes: list[str] = []
        self.failures = self
        self.failed: Any = None

    def drop(self, arrival: Any) -> None:
        self.dropped.append(arrival)

    def fail(self, arrival: Any, _start_ns: int, kind: str, _name: str) -> None:
        self.failed_rows.append((arrival, kind))

    def note(self, _kind: str, _deployment: int, _scenario: int, _name: str, sentence: str) -> None:
        self.notes.append(sentence)


class Visit(TTFBUser):
    @task
    def page(self) -> None:
        self.client.get()  # type: ignore[call-arg]


class Stage:
    """A player with everything around it faked but the timer and the users."""

    def __init__(self, *classes: type[TTFBUser], pause_s: float = 0.0, **load: Any) -> None:
        plan = Plan(
            regions=("cdg",),
            primary_region="cdg",
            deployments=(Deployment(name="a"), Deployment(name="b")),
            load=Load(**{**LOAD, **load}),
        )
        self.schedule = RegionSchedule(plan, "cdg")
        self.heard: list[Any] = []
        self.recorder: Any = FakeRecorder()
        self.environment = Environment(user_classes=list(classes))
        self.pause_s = pause_s
        self.classes = classes

    def make_user(self, user_class: type[TTFBUser], arm: int) -> TTFBUser:
        user = user_class(self.environment)
        client: Any = FakeClient(self.heard, self.pause_s)
        user.equip(client, "cdg", "ab"[arm])
        return user

    def open_user(self, user_class: Any, arm: int) -> tuple[User, Any]:
        user = self.make_user(user_class, arm)
        return user, user.client

    def open(self, *, chunks: Any = None, arms: Any = ((), ()), users: int = 4) -> Player:
        chunks = chunks or self.schedule.chunks()
        source = ScheduledArrivals(
            chunks, self.classes, self.recorder, users=users, arms=arms, seed=1
        )
        return self.player(source)

    def player(self, source: Any) -> Player:
        return Player(source, self.classes, self.recorder, self.open_user)

    def play(self, player: Player, grace_s: float = 1.0) -> list[Any]:
        player.prepare()
        player.start(time.monotonic_ns() + 10_000_000, 0)
        assert player.finished.wait(10)
        player.close(grace_s)
        return [entry for entry in self.heard if entry[2] and entry[2][0] >= 0]


WAYS = itertools.cycle(("stop", "force", "exit"))


class Ends(TTFBUser):
    """A user that leaves in every way that Locust knows."""

    @task
    def page(self) -> None:
        self.client.get()  # type: ignore[call-arg]
        way = next(WAYS)
        if way == "stop":
            self.stop()
        if way == "force":
            self.stop(force=True)
        raise gevent.GreenletExit


def check_a_user_that_leaves_by_itself_is_there_for_its_next_arrival() -> None:
    stage = Stage(Ends)
    heard = stage.play(stage.open(users=2))
    assert len(heard) == sum(len(chunk.due_ns) for chunk in stage.schedule.chunks())
    assert stage.recorder.dropped == []
    assert all("GreenletExit in locust_checks.py" in said for said in stage.recorder.notes)
    assert stage.recorder.notes


def check_an_on_stop_without_end_is_left() -> None:
    users: list[gevent.Greenlet] = []

    class Stays(Visit):
        def on_stop(self) -> None:
            users.append(gevent.getcurrent())
            Event().wait()

    stage = Stage(Stays)
    stage.play(stage.open(users=2))
    assert users
    assert all(user.dead for user in users)


def check_a_scenario_ends_the_load_and_not_its_worker() -> None:
    ended: list[bool] = []
    runner: Any = environment_of_scenario(lambda: ended.append(True)).runner
    runner.quit()
    assert ended == [True]


def check_every_arrival_is_played_once_and_never_early() -> None:
    stage = Stage(Visit)
    player = stage.open()
    begun = stage.play(player)
    assert len(begun) == player.played == 100
    assert sorted(arrival[0] for _, _, arrival in begun) == list(range(100))
    assert all(late_ns >= 0 for _, late_ns, _ in begun)
    assert len(player.take_lateness()) == 100
    assert not stage.recorder.dropped


def check_a_file_with_all_plays_the_classes_that_it_names() -> None:
    plan = load_plan("scenarios/atlas.toml")
    names = {cls.scenario_name() for cls in load_scenario(plan.scenario)}
    assert {name for d in plan.deployments for name in d.scenarios} == names
    assert len(load_scenario("scenarios/writes.py")) == 5


def check_a_scenario_is_refused_for_what_the_client_would_refuse() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.py"
        path.write_text(
            "from loadtest.engine.user import TTFBUser\n"
            "class Odd(TTFBUser):\n"
            "    def t(self): self.client.get('/', context={'a': 1})\n"
            "    tasks = [t]\n"
        )
        told = ""
        try:
            load_scenario(str(path))
        except EngineError as error:
            told = str(error)
        assert f"{path}, line 3: context=" in told, told


def check_a_scenario_finds_what_the_apps_are_given() -> None:
    os.environ[ENVIRONMENT] = json.dumps({"SHOP_KEY": "k", "HOME": "elsewhere"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret.py"
        path.write_text(
            "import os\n"
            "from loadtest.engine.user import TTFBUser\n"
            "class Secret(TTFBUser):\n"
            "    scenario = os.environ['SHOP_KEY']\n"
            "    def t(self): pass\n"
            "    tasks = [t]\n"
        )
        (found,) = load_scenario(str(path))
    assert found.scenario_name() == "k"
    assert os.environ["HOME"] != "elsewhere", "what is there already stays"
    assert ENVIRONMENT not in os.environ, "no process of the scenario's inherits it"


def check_an_arm_plays_the_scenarios_that_it_names() -> None:
    other = type(
        "Other", (TTFBUser,), {"scenario": "other", "page": Visit.page, "tasks": Visit.tasks}
    )
    stage = Stage(Visit, other)
    begun = stage.play(stage.open(arms=((), ("other",))))
    assert {arrival[3:5] for _, _, arrival in begun} == {(0, 0), (0, 1), (1, 1)}


def check_empty_chunks_do_not_end_the_load() -> None:
    """One worker of many has no part in most chunks of a slow schedule."""
    stage = Stage(Visit)
    empty = Chunk("steady", 0, (), array("q"), b"", b"")
    last = Chunk("steady", 0, (7,), array("q", [1_000]), b"\x01", b"\x00")
    chunks = iter([*[empty] * 100, last])
    player = stage.open(chunks=chunks)
    begun = stage.play(player)
    assert [arrival[0] for _, _, arrival in begun] == [7]
    assert player.finished.is_set()


def check_an_arrival_without_a_free_user_is_dropped() -> None:
    stage = Stage(Visit, pause_s=0.3)
    player = stage.open(users=2)
    begun = stage.play(player)
    assert len(begun) + len(stage.recorder.dropped) == 100
    assert len(begun) >= 4
    assert len(stage.recorder.dropped) > 50


def check_a_task_that_raises_is_a_row_and_the_user_lives_on() -> None:
    class Broken(TTFBUser):
        @task
        def page(self) -> None:
            raise KeyError("price")

        @task
        def leave(self) -> None:
            sys.exit(1)

        @task
        def wait(self) -> None:
            raise gevent.Timeout(1)

    stage = Stage(Broken)
    begun = stage.play(stage.open(users=1))
    assert len(begun) == len(stage.recorder.failed_rows) == 100
    assert {kind for _, kind in stage.recorder.failed_rows} == {"check"}
    said = set(stage.recorder.notes)
    assert any(note.startswith("Broken: KeyError") and "price" in note for note in said), said
    assert any(note.startswith("Broken: SystemExit") for note in said), said


def check_a_failure_that_has_its_row_gets_no_second_one() -> None:
    stage = Stage(Visit)

    class Judging(TTFBUser):
        @task
        def page(self) -> None:
            stage.recorder.failed = stage.heard[-1][2]
            raise ValueError("the page is empty")

    stage.classes = (Judging,)
    stage.play(stage.open(users=1))
    assert not stage.recorder.failed_rows
    assert len(stage.recorder.notes) == 100


def check_tasks_and_classes_are_picked_by_weight() -> None:
    counts: dict[str, int] = {"often": 0, "seldom": 0, "other": 0}

    class First(TTFBUser):
        weight = 3

        @task(9)
        def often(self) -> None:
            counts["often"] += 1

        @task
        def seldom(self) -> None:
            counts["seldom"] += 1

    class Second(TTFBUser):
        @task
        def other(self) -> None:
            counts["other"] += 1

    stage = Stage(First, Second, rate=400, duration_s=1)
    begun = stage.play(stage.open(users=8))
    assert sum(counts.values()) == len(begun) == 800
    assert 140 < counts["other"] < 260
    assert 30 < counts["seldom"] < 100
    scenarios = [arrival[4] for _, _, arrival in begun]
    assert scenarios.count(1) == counts["other"]


def check_cold_arrivals_close_what_their_user_kept() -> None:
    stage = Stage(Visit, new_connections=0.2)
    stage.play(stage.open())
    at_the_end = 2 * 4
    assert sum(kind == "close" for kind, _, _ in stage.heard) == 20 + at_the_end


def check_stop_ends_the_load_and_cancels_what_hangs() -> None:
    stage = Stage(Visit, pause_s=30, duration_s=20)
    player = stage.open()
    player.prepare()
    player.start(time.monotonic_ns(), 0)
    gevent.sleep(0.2)
    player.stop()
    begun = player.played
    player.close(0.05)
    gevent.sleep(0.1)
    assert player.played == begun < 4_000
    assert player.in_flight == 0


def check_a_scenario_that_asks_for_what_cannot_be_ends_the_load() -> None:
    class Asking(TTFBUser):
        @task
        def page(self) -> None:
            try:
                settle({"verify": False}, None)
            except OptionError as error:
                raise LookupError("mine") from error

    stage = Stage(Asking, duration_s=20)
    player = stage.open()
    player.prepare()
    player.start(time.monotonic_ns(), 0)
    assert player.finished.wait(10)
    player.close(0.05)
    assert "Asking: LookupError in locust_checks.py:" in player.fault
    assert len(stage.recorder.failed_rows) < 10


def check_on_start_runs_before_the_load_and_its_failure_is_told() -> None:
    class Careful(TTFBUser):
        def on_start(self) -> None:
            self.ready = True

        @task
        def page(self) -> None:
            assert self.ready

    stage = Stage(Careful)
    stage.play(stage.open())
    assert not stage.recorder.failed_rows
    arms = [context[3] for _, _, context in stage.heard if context and context[0] == -1]
    assert arms == [0] * 4 + [1] * 4

    class Failing(TTFBUser):
        def on_start(self) -> None:
            raise OSError("no login")

        @task
        def page(self) -> None:
            pass

    stage = Stage(Failing)
    sys.stderr = open("/dev/null", "w")  # noqa: SIM115 - gevent prints the trace of the greenlet
    player = stage.open(users=2)
    try:
        assert "no login" in sentence_of(player.prepare)
    finally:
        sys.stderr.close()
        sys.stderr = sys.__stderr__
        player.close(0)


def check_the_closed_model_keeps_its_users_busy_until_the_end() -> None:
    stage = Stage(Visit, pause_s=0.02, model="closed", duration_s=0.5, warmup_s=0.2)
    end_s = stage.schedule.total_ns / 1e9
    crowd = changes(["Visit"], [Share(1.0)], [UserStep(at_s=0, users=3)], end_s)
    source = ReadyArrivals(stage.schedule, (0, 1), crowds=(crowd, crowd))
    begun = stage.play(stage.player(source))
    assert 6 < len(begun) <= 2 * 3 * 36
    numbers = [arrival[0] for _, _, arrival in begun]
    assert numbers == list(range(len(numbers)))
    assert {arrival[2] for _, _, arrival in begun} == {0, 1}
    assert {arrival[3] for _, _, arrival in begun} == {0, 1}


def check_the_dispatcher_pins_one_driver_to_every_worker() -> None:
    nodes = [WorkerNode(f"w{number}") for number in range(3)]
    dispatcher = PinnedDispatcher(nodes, [Visit])
    dispatcher.new_dispatch(3, 3)
    assert list(dispatcher) == [{f"w{n}": {"Visit": 1} for n in range(3)}]
    dispatcher.remove_worker(nodes[1])
    dispatcher.new_dispatch(99, 1)
    assert list(dispatcher) == [{"w0": {"Visit": 1}, "w2": {"Visit": 1}}]
    dispatcher.add_worker(nodes[1])
    dispatcher.add_worker(nodes[1])
    dispatcher.new_dispatch(0, 1)
    assert sorted(next(dispatcher)) == ["w0", "w1", "w2"]


def check_no_bytes_make_the_parser_raise() -> None:
    """Random bytes, and valid messages with single bytes changed or cut."""
    draw = random.Random(5)
    valid = [
        msgpack.packb(message)
        for message in (
            ("client_ready", "2.47.0", "w"),
            ("lt-batch", {"seq": 1, "columns": {"a": b"12"}}, "w"),
            ("heartbeat", {"state": "x", "current_cpu_usage": 1}, "w"),
            ("stats", {"stats": [], "at": {"__datetime__": True, "as_str": "x"}}, "w"),
        )
    ]
    for _ in range(20_000):
        data = bytearray(draw.choice(valid))
        if draw.random() < 0.3:
            data = bytearray(draw.randbytes(draw.randrange(40)))
        for _ in range(draw.randrange(3)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        frames = [b"w", bytes(data[: draw.randrange(len(data) + 1)])]
        parse_message(frames[: draw.choice([1, 2, 2, 2])])


def check_only_sensible_messages_pass() -> None:
    def parsed(*content: Any, sender: bytes = b"w") -> Any:
        return parse_message([sender, msgpack.packb(content)])

    ready = parsed("client_ready", "2.47.0", "w")
    assert (ready.type, ready.data, ready.node_id) == ("client_ready", "2.47.0", "w")
    assert parsed("lt-hello", {"name": "x"}, "w").data == {"name": "x"}
    assert parsed("quit", None, "w").type == "quit"
    every: tuple[Any, ...] = (
        ("quit", None, "another"),
        ("lt-hello", None, "w"),
        ("lt-unheard-of", {}, "w"),
        ("locustfile", {"version": "2"}, "w"),
        ("heartbeat", {"state": "ready"}, "w"),
        ("spawning_complete", {"user_classes_count": 3, "user_count": 1}, "w"),
        ("exception", {"msg": 1}, "w"),
        (5, {}, "w"),
        ("quit",),
        ("quit", None, "w", "more"),
    )
    for senseless in every:
        assert parsed(*senseless) is None, senseless
    assert parse_message([b"\xff", msgpack.packb(("quit", None, "w"))]) is None
    assert parse_message([b"w", b"\x05"]) is None
    assert parse_message([b"w", b"\x91" * 100_000]) is None


def check_a_proxy_that_hangs_up_is_not_a_coordinator_with_other_keys() -> None:
    """What stands in front of a coordinator takes connections before it is up."""
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    public = (server[0].decode(), client[0].decode())
    hung_up = 0
    refused: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def hang_up() -> None:
        nonlocal hung_up
        while True:
            listener.accept()[0].close()
            hung_up += 1

    proxy = gevent.spawn(hang_up)
    keys = CurveKeys(*public, client[1].decode())
    early = SecureClient("127.0.0.1", port, "w1", keys, lambda: refused.append("early"))
    with gevent.Timeout(20):
        while hung_up < 7:  # five in vain, and the question whether anybody greets
            gevent.sleep(0.01)
        proxy.kill()
        listener.close()
        coordinator = SecureServer("127.0.0.1", port, CurveKeys(*public, server[1].decode()))
        early.send(Message("quit", None, "w1"))  # type: ignore[no-untyped-call]
        assert coordinator.recv_from_client()[0] == "w1"
        other = zmq.curve_keypair()
        wrong = CurveKeys(other[0].decode(), public[1], client[1].decode())
        late = SecureClient("127.0.0.1", port, "w2", wrong, lambda: refused.append("late"))
        while not refused:
            gevent.sleep(0.01)
    assert refused == ["late"]
    for each in (early, late, coordinator):
        each.close(linger=0)


def check_a_handler_that_raises_does_not_end_the_listener() -> None:
    handled: list[str] = []

    def handle(client_id: str, _msg: Any) -> None:
        handled.append(client_id)
        raise KeyError("state")

    runner: Any = SimpleNamespace(handle_message=handle)
    shield(runner)
    runner.handle_message("w1", SimpleNamespace(type="heartbeat"))
    runner.handle_message("w2", SimpleNamespace(type="heartbeat"))
    assert handled == ["w1", "w2"]


def check_a_scenario_that_cannot_be_loaded_says_where_and_why() -> None:
    head = "from locust import task, TaskSet\nfrom loadtest.engine.user import TTFBUser\n"
    cases = {
        "def broken(:\n": "line 1",
        "x = 1\nimport nowhere_to_be_found\n": "line 2: ModuleNotFoundError",
        "import sys\nsys.exit(3)\n": "SystemExit",
        "x = 1\n": "holds no class derived from TTFBUser",
        head + "class A(TTFBUser):\n    pass\n": "A has no task",
        head
        + "class A(TTFBUser):\n    @task\n    class B(TaskSet):\n        pass\n": "is a TaskSet",
        head
        + "class A(TTFBUser):\n    scenario = 's'\n    @task\n    def t(self): pass\n"
        + "class B(A):\n    pass\n": "share the scenario name 's'",
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, (text, words) in enumerate(cases.items()):
            path = Path(folder) / f"scenario_{number}.py"
            path.write_text(text)
            sentence = sentence_of(partial(load_scenario, str(path)))
            assert words in sentence, f"{words!r} not in {sentence}"
            assert str(path) in sentence
        assert "none.py" in sentence_of(lambda: load_scenario("scenarios/none.py"))
    (recipes,) = load_scenario("scenarios/recipes.py")
    assert recipes.scenario_name() == "recipes"


def main() -> None:
    failed = {}
    checks = {name: value for name, value in globals().items() if name.startswith("check_")}
    for name, check in checks.items():
        try:
            check()
        except Exception:
            failed[name] = traceback.format_exc()
    sys.stdout.write(json.dumps({"ran": list(checks), "failed": failed}))


if __name__ == "__main__":
    main()
