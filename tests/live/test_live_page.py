"""The live page: its board, the frames of its stream, and its server on loopback."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_board import TOKEN, glance, served, status

from loadtest.errors import PlanError
from loadtest.live import board as module
from loadtest.live.board import BoardProgress, LiveBoard
from loadtest.live.marks import MOST_MARKS, LoadTimeLine
from loadtest.live.server import LiveServer, content_policy
from loadtest.live.sse import event_frame
from loadtest.records.watch import MachineEnd
from loadtest.run.progress import Silent

PAGE = (Path(module.__file__).parent / "page.html").read_text(encoding="utf-8")


def test_a_frame_is_one_event_whatever_it_says() -> None:
    data = {"text": "a\nevent: b\r\n\n\u2028<é>"}
    frame = event_frame("news", data).decode("ascii")
    assert frame.startswith("event: news\ndata: {")
    assert frame.count("\n") == 3
    assert json.loads(frame.splitlines()[1].removeprefix("data: ")) == data


def as_the_page_reads(content: Mapping[str, object]) -> Any:
    return json.loads(json.dumps(content))


def test_a_board_keeps_every_curve_and_tells_the_latest_point() -> None:
    board = LiveBoard()
    for number in (1, 1, 2, 3):
        board.load(status(number), 20.0)
    board.world(glance())
    version, content = board.snapshot()
    everything = as_the_page_reads(content)
    assert [point["n"] for point in everything["points"]] == [1, 2, 3]
    assert everything["points"][0]["cells"] == {"cdg/multi": [76.2, None, 5.0, 1]}
    told = board.wait(0, 0.0)
    assert told is not None
    news = as_the_page_reads(told[1])
    assert (told[0], [point["n"] for point in news["points"]]) == (version, [3])
    assert news["world"]["links"][0]["pair"] == "cdg-ord"


def test_what_happens_is_marked_on_the_time_line_of_the_curves() -> None:
    """Machines, faults and their ends, and looks; each once, where the curves have that moment."""
    time = LoadTimeLine("cdg")
    time.load(status(5))
    for _ in range(2):
        time.world(glance())
    assert [(mark.n, mark.t_s, mark.regions, mark.text) for mark in time.marks] == [
        (1, 8.5, (), "web in cdg: machine exit, unasked, exit code 137"),
        (2, 9.0, ("cdg", "ord"), "fault: cut ord-cdg"),
        (3, 9.5, ("cdg", "ord"), "over: cut ord-cdg"),
    ]
    time.load(replace(status(1), segment=1, total_s=30.0))
    stop = MachineEnd(1_000, "web", "syd", "2", "stop", True, None, False)
    exits = replace(stop, event="exit", t_ms=1_100)
    time.world(replace(glance(), now_ms=9_000, events=(stop, exits), faults=()))
    look, stopped = time.marks[3:]
    assert (look.t_s, look.text) == (34.0, "look 1 left the gate undecided, and more load was sent")
    assert (stopped.t_s, stopped.regions) == (34.0, ("syd",))  # it was stopped between the segments
    time.load(replace(status(2), segment=2, total_s=30.0))
    assert (time.marks[5].t_s, time.now_s) == (64.0, 68.0)
    for n in range(200):
        time.world(replace(glance(), events=(replace(stop, machine=f"m{n}"),)))
    assert len(time.marks) == MOST_MARKS


def test_a_long_run_keeps_a_bounded_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_POINTS", 8)
    board = LiveBoard()
    for number in range(1, 60):
        board.load(status(number), 20.0)
    numbers = [point["n"] for point in as_the_page_reads(board.snapshot()[1])["points"]]
    assert len(numbers) <= 8
    assert numbers == sorted(numbers)
    assert numbers[0] <= 8 < 48 < numbers[-1]


def test_a_closed_board_tells_its_last_news_and_lets_go() -> None:
    board = LiveBoard()
    board.end("pass", "Pass: so it is.", None)
    board.close()
    told = board.wait(0, 0.0)
    assert told is not None
    assert as_the_page_reads(told[1])["end"]["decision"] == "pass"
    assert board.wait(told[0], 60.0) is None


def test_news_reaches_the_board_and_the_terminal() -> None:
    board, other = LiveBoard(), Silent()
    both = BoardProgress(board, other)
    both.step("beginning")
    both.done("begun")
    both.warn("beware\x1b[2J")
    both.load("steady", "", [], "")
    assert other.sentences == ["beginning", "begun", "beware\x1b[2J"]
    content = as_the_page_reads(board.snapshot()[1])
    assert content["step"] == "begun"
    assert "\x1b" not in content["notes"][0]


def test_the_page_needs_nothing_from_elsewhere_and_writes_text_alone() -> None:
    """Works offline; what a target says can never become markup."""
    assert re.findall(r"(?:https?:)?//[a-z]", PAGE.replace("http://www.w3.org/2000/svg", "")) == []
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "<img"):
        assert word not in PAGE
    assert not re.search(r"<[^>]+\s(?:style|on\w+)=", PAGE)
    assert PAGE.count("<script>") == PAGE.count("<style>") == 1
    assert "prefers-reduced-motion" in PAGE
    assert "prefers-color-scheme: dark" in PAGE
    assert "unsafe" not in content_policy(PAGE)


@pytest.mark.parametrize("token", ["short", "with/slash-and-more-of-it", "ä" * 20])
def test_a_token_that_is_guessed_is_refused(token: str) -> None:
    with pytest.raises(PlanError, match="LOADTEST_LIVE_TOKEN"):
        LiveServer(LiveBoard(), token)


def ask(server: LiveServer, path: str, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.contract
def test_the_server_answers_who_has_its_token_and_its_address(tmp_path: Path) -> None:
    with served() as (board, server):
        board.load(status(sentence="<script>"), 20.0)
        for path in ("/", "/wrong/", f"/{TOKEN}x/", "/events", "/metrics", f"/{TOKEN[:-1]}/"):
            assert ask(server, path)[0] == 403, path
        assert ask(server, f"/{TOKEN}/", Host=f"evil.example:{server.server_port}")[0] == 403
        assert ask(server, f"/{TOKEN}/", Host="127.0.0.1")[0] == 403
        assert ask(server, f"/{TOKEN}/nothing")[0] == 404
        assert ask(server, f"/{TOKEN}/report.html")[0] == 404
        code, headers, page = ask(server, f"/{TOKEN}/")
        assert (code, page) == (200, PAGE.encode())
        assert headers["Content-Security-Policy"] == content_policy(PAGE)
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert ask(server, "/metrics", Authorization=f"Bearer {TOKEN}")[2] == b"loadtest_up 1\n"
        report = tmp_path / "report.html"
        report.write_text("the report")
        board.end("pass", "Pass.", report)
        assert ask(server, f"/{TOKEN}/report.html")[2] == b"the report"
        with pytest.raises(PlanError, match=f"--live={server.server_port}: .*in use"):
            LiveServer(LiveBoard(), TOKEN, server.server_port)


@pytest.mark.contract
def test_a_page_hears_everything_then_the_news_then_the_end() -> None:
    with served() as (board, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", f"/{TOKEN}/events")
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "text/event-stream"

        def event() -> tuple[str, Any]:
            lines = iter(lambda: response.readline().decode().rstrip("\n"), None)
            name = next(line for line in lines if line.startswith("event: "))
            return name[7:], json.loads(next(lines)[6:])

        name, content = event()
        assert (name, content["plan"]["run_id"], content["points"]) == ("all", "r1", [])
        assert server.watched
        board.load(status(), 20.0)
        name, content = event()
        assert (name, content["load"]["verdict_s"], content["points"][0]["n"]) == ("news", 20.0, 1)
        board.end("fail", "Fail: so it is.", None)
        board.close()
        assert event()[1]["end"]["decision"] == "fail"
        assert response.read().strip() == b""
        connection.close()
        server.wait_until_unwatched(10.0)
        assert not server.watched


def test_the_dashboard_asks_for_metrics_that_are_there() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    told = (docs / "live.md").read_text(encoding="utf-8")
    text = (docs / "grafana.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"loadtest_\w+", text))
    assert len(json.loads(text)["panels"]) == 6
    assert {name.removesuffix("_bucket") for name in asked} <= set(
        re.findall(r"loadtest_\w+", told)
    )
