"""
Tells whether a process lives, and which one of its number it is.  Standard library only.

Source: proc_pid_stat(5).
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

_LINUX = sys.platform.startswith("linux")


def start_time(pid: int) -> int:
    """Return a number that tells when a process started; 0 if it is gone or a zombie."""
    if not _LINUX:
        return _start_time_of_ps(pid)
    fields = stat_fields(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else 0


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_time_of_ps(pid: int) -> int:
    """Return what ps tells of a process where there is no /proc."""
    asked = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, check=False
    )
    state, _, started = asked.stdout.strip().partition(b" ")
    return 0 if not started or state.startswith(b"Z") else zlib.crc32(started.strip()) or 1
