"""Hears single keys of the terminal while a program goes on; leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from typing import Final

_LFLAG: Final = 3
_CC: Final = 6
_AWAY_S: Final = 1.0
"""How often a program in the background looks whether the terminal is its own again."""


class Keyboard:
    """
    Calls back for a key of a terminal, from ``listen`` to ``close``; Ctrl-C is what it always is.

    A program in the background hears nothing and changes nothing: the terminal is its shell's.

    Args:
        fd: The terminal, for reading.
        keys: What to call for which key, from a thread of its own.
    """

    def __init__(self, fd: int, keys: dict[str, Callable[[], None]]) -> None:
        self._fd = fd
        self._keys = keys
        self._thread: threading.Thread | None = None
        self._ended, self._end = -1, -1

    def listen(self) -> None:
        """Begin; nothing is lost where this is no terminal, or is called again."""
        if self._thread is not None or not os.isatty(self._fd):
            return
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._hear, name="keyboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, and give the terminal back as it was."""
        if self._thread is None:
            return
        os.write(self._end, b"\0")
        self._thread.join()
        os.close(self._ended)
        os.close(self._end)
        self._thread = None

    def _hear(self) -> None:
        # Blocked here, the terminal's signals to a program in the background become errors.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN, signal.SIGTTOU})
        before = None
        try:
            while True:
                ours = self._is_ours()
                if ours and before is None:
                    before = self._by_the_key()
                watched = [self._ended, self._fd] if ours else [self._ended]
                ready = select.select(watched, [], [], _AWAY_S)[0]
                if self._ended in ready:
                    return
                if ready and not self._heard():
                    return
        except (OSError, termios.error):
            return  # the terminal went away
        finally:
            if before is not None:
                with contextlib.suppress(OSError, termios.error):
                    termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def _is_ours(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True  # no terminal of this session: nobody else reads it

    def _by_the_key(self) -> list[int | list[bytes | int]]:
        """Hear each key at once, unseen; return how the terminal was."""
        before = termios.tcgetattr(self._fd)
        now = termios.tcgetattr(self._fd)
        now[_LFLAG] = now[_LFLAG] & ~(termios.ICANON | termios.ECHO)
        now[_CC][termios.VMIN], now[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        return before

    def _heard(self) -> bool:
        """Call back for what was typed; False at the end of the terminal."""
        typed = os.read(self._fd, 64)
        for key in typed.decode("ascii", "replace").lower():
            if key in self._keys:
                self._keys[key]()
        return bool(typed)
