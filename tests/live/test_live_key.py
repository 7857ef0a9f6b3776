"""A key of the terminal serves the live page of a run that goes on, and says where."""

from __future__ import annotations

import http.client
import os
import pty
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from live_board import status

from loadtest.cli_live import KEY, conduct
from loadtest.errors import EngineError
from loadtest.plan.resolve import load_plan
from loadtest.run.conductor import RunConductor
from loadtest.run.progress import Progress
from loadtest.run.viewing import Watcher
from loadtest.terminal import Terminal

PATIENCE_S = 20.0
ADDRESS = re.compile(r"live page: http://(127\.0\.0\.1:\d+)(/\S+/)")


class Person:
    """Who sits at a terminal: reads what it shows, presses keys."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.shown = ""
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def press(self, key: str) -> None:
        os.write(self._end, key.encode())

    def wait_for(self, form: re.Pattern[str]) -> re.Match[str]:
        with self._news:
            assert self._news.wait_for(lambda: form.search(self.shown), PATIENCE_S), self.shown
        found = form.search(self.shown)
        assert found is not None
        return found

    def _read(self) -> None:
        try:
            while read := os.read(self._end, 4096):
                with self._news:
                    self.shown += read.decode("utf-8", "replace")
                    self._news.notify_all()
        except OSError:
            return  # the other end is closed


@contextmanager
def person_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Put a terminal in the place of standard input and error, and a person before it."""
    theirs, ours = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("LOADTEST_LIVE_TOKEN", raising=False)
    with monkeypatch.context() as here, open(ours) as reading, open(os.dup(ours), "w") as writing:
        here.setattr("sys.stdin", reading)
        here.setattr("sys.stderr", writing)
        yield Person(theirs)
    os.close(theirs)


class Run:
    """A run whose load lasts until somebody has seen its page, and then comes to nothing."""

    def __init__(self, person: Person, progress: Progress, watcher: Watcher | None) -> None:
        self._person, self._progress, self._watcher = person, progress, watcher
        self.page = b""

    def request_stop(self) -> None:
        """Never asked."""

    def request_end(self) -> None:
        """Never asked."""

    def run(self) -> Any:
        assert self._watcher is not None
        self._watcher.begin(load_plan(), "r1", lambda: b"")
        assert not self._watcher.watches_world
        self._watcher.load(status(), 20.0)
        self._progress.load("steady", "34 s left", [], "")
        self._person.wait_for(re.compile(re.escape(f"[{KEY}: live page]")))
        self._person.press(KEY)
        host, path = self._person.wait_for(ADDRESS).groups()
        connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
        connection.request("GET", path)
        self.page = connection.getresponse().read()
        connection.close()
        assert self._watcher.watches_world
        raise EngineError("enough seen")


def test_a_key_serves_the_page_of_a_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Run] = []
    with person_at(monkeypatch) as person:

        def make(progress: Progress, watcher: Watcher | None) -> RunConductor:
            made.append(Run(person, progress, watcher))
            return cast("RunConductor", made[0])

        terminal = Terminal()
        assert terminal.hears_keys
        with pytest.raises(EngineError, match="enough seen"):
            conduct(terminal, None, make)
        terminal.finish()
    assert b"<h1" in made[0].page
    assert terminal.hint == ""


def test_a_quiet_terminal_hears_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with person_at(monkeypatch):
        terminal = Terminal()
        terminal.be_quiet()
        assert not terminal.hears_keys
