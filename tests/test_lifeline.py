"""A machine's program ends when its run is over, and is itself in every other way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtest import lifeline

ROOT = Path(lifeline.__file__).resolve().parents[1]
WORDS = [sys.executable, "-m", "loadtest.lifeline"]
SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


class Coordinator:
    """Answers or not, on a clock that moves when somebody pauses."""

    def __init__(self, answers: str, alive_s: float = 1e9) -> None:
        self.answers, self.now_s, self._alive_s = answers, 0.0, alive_s

    def over(self, silent_s: float = 4.0, first_s: float = 20.0) -> bool:
        """Watch with an answer for each second of ``answers``, the last for ever."""

        def pause(seconds: float) -> None:
            self.now_s += seconds

        return lifeline.watch(
            lambda: self.now_s < self._alive_s,
            lambda: self.answers[min(int(self.now_s), len(self.answers) - 1)] == "+",
            silent_s=silent_s,
            first_s=first_s,
            now_s=lambda: self.now_s,
            pause=pause,
        )


@pytest.mark.parametrize(
    ("answers", "ends_s"),
    [("-", 20), ("+-", 4), ("----------+-", 14), ("+---+---+-", 12)],
    ids=["never came", "gone at once", "came late", "came back in time"],
)
def test_silence_ends_it_after_its_time(answers: str, ends_s: float) -> None:
    coordinator = Coordinator(answers)
    assert coordinator.over()
    assert coordinator.now_s == ends_s


def test_a_machine_that_slept_asks_again_before_it_ends() -> None:
    now_s, asked = 0.0, 0

    def answers() -> bool:
        nonlocal asked, now_s
        asked += 1
        now_s += 100.0 * (asked == 2)  # the machine sleeps here, or one answer takes for ever
        return asked in (1, 4)

    def pause(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    over = lifeline.watch(
        lambda: True, answers, silent_s=4.0, first_s=20.0, now_s=lambda: now_s, pause=pause
    )
    assert (over, asked) == (True, 8)  # not after the third, though 100 s had gone


def test_a_program_that_ends_by_itself_is_not_watched_on() -> None:
    assert not Coordinator("+", alive_s=100).over()


def test_nobody_there_is_no_answer() -> None:
    assert not lifeline.answers("127.0.0.1", 1)
    assert not lifeline.answers("no.such.name.invalid", 1)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def started(*words: str, port: int, first: str = "60") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WORDS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LOADTEST_LIFELINE": f"127.0.0.1:{port}",
            "LOADTEST_LIFELINE_S": "1",
            "LOADTEST_LIFELINE_FIRST_S": first,
        },
    )


@pytest.mark.contract
class TestProgram:
    """The real thing: processes and a server."""

    def test_it_lives_as_long_as_the_run(self, server: ThreadingHTTPServer) -> None:
        assert lifeline.answers("127.0.0.1", server.server_port)
        process = started(*SLEEPS, port=server.server_port, first="1")
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        server.shutdown()
        server.server_close()
        assert process.wait(15) == -signal.SIGTERM
        assert "the run is over" in process.communicate()[1]

    def test_its_id_its_signals_and_its_exit_code_are_the_programs(
        self, server: ThreadingHTTPServer
    ) -> None:
        word = "import os, sys; print(os.getpid()); sys.exit(7)"
        process = started(sys.executable, "-c", word, port=server.server_port)
        out, _err = process.communicate(timeout=15)
        assert (int(out), process.returncode) == (process.pid, 7)
        process = started(*SLEEPS, port=server.server_port)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == -signal.SIGINT
        process.communicate()

    def test_what_cannot_be_started_is_told(self, server: ThreadingHTTPServer) -> None:
        process = started("/no/such/program", port=server.server_port)
        assert "/no/such/program: No such file" in process.communicate(timeout=15)[1]
        assert process.returncode == 127


@pytest.mark.parametrize(
    ("environment", "words", "told"),
    [
        ({}, ["true"], "LOADTEST_LIFELINE"),
        ({"LOADTEST_LIFELINE": "host:x"}, ["true"], "LOADTEST_LIFELINE_S"),
        (
            {
                "LOADTEST_LIFELINE": "host:1",
                "LOADTEST_LIFELINE_S": "1",
                "LOADTEST_LIFELINE_FIRST_S": "1",
            },
            [],
            "give the words of a program",
        ),
    ],
)
def test_a_wrong_call_is_told(
    environment: dict[str, str],
    words: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("LOADTEST_LIFELINE", "LOADTEST_LIFELINE_S", "LOADTEST_LIFELINE_FIRST_S"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert lifeline.main(words) == 2
    assert told in capsys.readouterr().err
