"""A key of the terminal is heard at once and unseen; the terminal is as it was afterwards."""

from __future__ import annotations

import os
import pty
import queue
import signal
import termios
from collections.abc import Iterator

import pytest

from loadtest.keyboard import Keyboard

PATIENCE_S = 20.0


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Return a terminal: the end of the person, and that of the program."""
    person, program = pty.openpty()
    yield person, program
    for end in (person, program):
        os.close(end)


def test_a_key_is_heard_unseen_and_the_terminal_is_given_back(ends: tuple[int, int]) -> None:
    person, program = ends
    before = termios.tcgetattr(program)
    heard: queue.Queue[int] = queue.Queue()
    keyboard = Keyboard(program, {"l": lambda: heard.put(termios.tcgetattr(program)[3])})
    keyboard.listen()
    keyboard.listen()  # once is enough
    os.write(person, b"xL\n")

    now = heard.get(timeout=PATIENCE_S)
    assert not now & (termios.ECHO | termios.ICANON)
    assert now & termios.ISIG  # Ctrl-C is what it always is
    keyboard.close()
    keyboard.close()
    assert termios.tcgetattr(program) == before
    assert heard.empty()


def test_what_is_no_terminal_is_left_alone() -> None:
    reading, writing = os.pipe()
    keyboard = Keyboard(reading, {"l": lambda: None})
    keyboard.listen()
    os.write(writing, b"l")
    keyboard.close()
    assert os.read(reading, 1) == b"l"
    os.close(reading)
    os.close(writing)


def test_a_program_in_the_background_leaves_the_terminal_to_its_shell(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, program = ends
    before = termios.tcgetattr(program)
    asked: queue.Queue[int] = queue.Queue()

    def somebody_elses(fd: int) -> int:
        asked.put(fd)
        return os.getpgrp() + 1

    monkeypatch.setattr(os, "tcgetpgrp", somebody_elses)
    keyboard = Keyboard(program, {"l": lambda: pytest.fail("it is not ours to hear")})
    keyboard.listen()
    os.write(person, b"l\n")
    assert asked.get(timeout=PATIENCE_S) == program
    keyboard.close()
    assert termios.tcgetattr(program) == before
    assert signal.SIGTTOU not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_terminal_that_goes_away_ends_the_hearing() -> None:
    person, program = pty.openpty()
    keyboard = Keyboard(program, {})
    keyboard.listen()
    os.close(person)
    keyboard.close()
    os.close(program)
