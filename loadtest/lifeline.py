"""
Ends a program when the run that it serves is over: ``python -m loadtest.lifeline PROGRAM ...``.

The program takes the place of this process, with its id, its signals and its exit code; a child
stays behind and asks the run's coordinator every few seconds whether it is there.  Reads from the
environment:

    LOADTEST_LIFELINE          host:port of the coordinator
    LOADTEST_LIFELINE_S        seconds of silence after which the run is over
    LOADTEST_LIFELINE_FIRST_S  the same before it was heard the first time
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import Callable

_ASK_TIMEOUT_S = 5.0
_LEAST_ASKED = 3  # one slow answer, or a machine that slept, is not silence
_GRACE_S = 10.0
_POLL_S = 0.1
_USAGE, _NO_PROGRAM = 2, 127  # as shells end


def watch(
    alive: Callable[[], bool],
    answers: Callable[[], bool],
    *,
    silent_s: float,
    first_s: float,
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """
    Watch until a program has ended by itself, or the run is over.

    Args:
        alive: Tells whether the program is there.
        answers: Tells whether the coordinator is.
        silent_s: Seconds of silence after which the run is over, asked some times in vain.
        first_s: The same before it was heard the first time.
        now_s: Monotonic seconds.
        pause: Waits for seconds.

    Returns:
        Whether the run is over while the program is still there.
    """
    heard_s, patience_s, asked = now_s(), first_s, 0
    while alive():
        if answers():
            heard_s, patience_s, asked = now_s(), silent_s, 0
        else:
            asked += 1
            if asked >= _LEAST_ASKED and now_s() - heard_s >= patience_s:
                return True
        pause(silent_s / 4)
    return False


def answers(host: str, port: int) -> bool:
    """Tell whether a coordinator answers."""
    connection = http.client.HTTPConnection(host, port, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def end(pid: int, alive: Callable[[], bool]) -> None:
    """Ask a program to end, and end it the hard way if it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        until_s = time.monotonic() + _GRACE_S
        while alive() and time.monotonic() < until_s:
            time.sleep(_POLL_S)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(words: list[str]) -> int:
    """Become the program; return only where that cannot be."""
    try:
        host, _, port = os.environ["LOADTEST_LIFELINE"].rpartition(":")
        silent_s = float(os.environ["LOADTEST_LIFELINE_S"])
        first_s = float(os.environ["LOADTEST_LIFELINE_FIRST_S"])
        address = host.strip("[]"), int(port)
    except (KeyError, ValueError) as error:
        _say(f"lifeline: {error}: `loadtest run` sets its environment")
        return _USAGE
    if not words:
        _say("lifeline: give the words of a program")
        return _USAGE
    program = os.getpid()
    if os.fork() == 0:
        over = watch(
            lambda: os.getppid() == program,
            lambda: answers(*address),
            silent_s=silent_s,
            first_s=first_s,
        )
        if over:
            _say("lifeline: the run is over, ending its machine")
            end(program, lambda: os.getppid() == program)
        os._exit(0)
    try:
        os.execvp(words[0], words)  # noqa: S606 - what it is for
    except OSError as error:
        _say(f"{words[0]}: {error.strerror}")
        return _NO_PROGRAM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
