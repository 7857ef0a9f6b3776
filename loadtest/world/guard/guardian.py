"""
The process between the CLI and the world: ``python -m loadtest.world.guard.guardian``.

It starts the world, passes its first answer on, and waits for an end: the CLI's (its standard
input closes), the world's, or a signal.  Then it ends everything below it and removes the world's
folder, in under five seconds whatever the others do.  It does nothing else and uses the standard
library only, so there is little that could end it first.

The world holds the other end of the same line: it takes everything down itself when the guardian
is killed.  When both are killed in the same moment the kernel ends the apps (Linux), PostgreSQL and
the folder stay; `loadtest.world.guard.remains` removes those on the CLI's exit or at the next
start.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loadtest.world.guard.reaper import become_subreaper, end_all, remove_dir
from loadtest.world.guard.remains import FOLDER_PREFIX, write_owner

_WORLD_GRACE_S = 2.5
_POLITE_S = 0.6
_HARD_S = 1.0
_READ_BYTES = 65_536


class Guardian:
    """
    Watches one world.

    Args:
        base: The world's folder, which it removes at the end.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._scratch: list[Path] = []
        self._groups: dict[int, int] = {}
        self._asked = self._answered = False
        self._stopping = False
        self._partial = b""
        self._signals, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with (base / "world.log").open("ab") as log:
            self._world = subprocess.Popen(
                [sys.executable, "-m", "loadtest.world", str(base)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._world.stdin is not None
        self._line = self._world.stdin

    def run(self) -> int:
        """
        Tell the world its spec, once that comes; watch until something ends, then end the rest.

        Returns:
            The exit code.
        """
        assert self._world.stdout is not None
        reports = self._world.stdout.fileno()
        self._await_spec()
        with selectors.DefaultSelector() as selector:
            for source in (0, reports, self._signals):
                selector.register(source, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select():
                    self._read(key.fd, reports)
        self._end(reports)
        return 0 if self._answered or not self._asked else 1

    def _read(self, source: int, reports: int) -> None:
        data = os.read(source, _READ_BYTES)
        if source == reports and data:
            self._note(data)
        elif not data:  # the CLI is gone, or the world is
            self._stopping = True

    def _note(self, data: bytes) -> None:
        """Take down what the world tells; pass on what is meant for the CLI."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "group" in message:
                self._groups[int(message["group"])] = int(message["signal"])
            elif "gone" in message:
                self._groups.pop(int(message["gone"]), None)
            else:
                self._answer(message)

    def _answer(self, message: dict[str, object]) -> None:
        self._answered = True
        try:
            os.write(1, json.dumps(message | {"folder": str(self._base)}).encode() + b"\n")
        except OSError:
            self._stopping = True

    def _end(self, reports: int) -> None:
        with contextlib.suppress(OSError):
            self._line.close()  # the world's sign to end
        os.set_blocking(reports, False)
        until = time.monotonic() + _WORLD_GRACE_S
        while self._world.poll() is None and time.monotonic() < until:
            self._drain(reports)
            time.sleep(0.01)
        self._drain(reports)
        if self._asked and not self._answered:
            self._answer({"error": self._obituary()})
            self._answered = False
        end_all(self._groups, polite_s=_POLITE_S, hard_s=_HARD_S)
        for folder in (self._base, *self._scratch):
            remove_dir(folder)

    def _drain(self, reports: int) -> None:
        try:
            while data := os.read(reports, _READ_BYTES):
                self._note(data)
        except BlockingIOError:
            return

    def _obituary(self) -> str:
        try:
            log = (self._base / "world.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            log = ""
        last = [line for line in log.splitlines() if line.strip()][-1:] or ["it said nothing"]
        code = self._world.poll()
        return f"the world process ended with exit code {code} before it was up: {last[0]}"

    def _await_spec(self) -> None:
        """Pass the spec on to the world, which starts meanwhile; nothing where none comes."""
        spec = b""
        with selectors.DefaultSelector() as selector:
            for source in (0, self._signals):
                selector.register(source, selectors.EVENT_READ)
            while not self._stopping and not spec.endswith(b"\n"):
                for key, _ in selector.select():
                    data = os.read(key.fd, _READ_BYTES)
                    self._stopping |= not data
                    spec += data if key.fd == 0 else b""
        if not self._stopping:
            self._asked = True
            self._scratch = [Path(folder) for folder in json.loads(spec).get("scratch") or ()]
            self._tell_world(spec.strip())

    def _tell_world(self, spec: bytes) -> None:
        try:
            self._line.write(spec + b"\n")
            self._line.flush()
        except OSError:
            self._stopping = True

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping = True


def read_line(descriptor: int) -> bytes:
    """Read one line without reading beyond it into a buffer; empty at the end of the input."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            return b""
        line += data
    return line.strip()


def main() -> int:
    """
    Guard one world whose spec comes as the first line of standard input.

    The world is started before that comes: importing what it needs takes it longer than most.
    """
    become_subreaper()
    try:
        base = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX)).resolve()
    except OSError as error:
        place = tempfile.gettempdir()
        told = f"no folder for the world can be made in {place}: {error.strerror}; set TMPDIR"
        os.write(1, json.dumps({"error": told}).encode() + b"\n")
        return 1
    write_owner(base, os.getpid())
    return Guardian(base).run()


if __name__ == "__main__":
    sys.exit(main())
