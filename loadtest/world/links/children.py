"""Programs of ours beside the world: started, spoken to in JSON lines, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import keep_admin_after_exec

_END_TIMEOUT_S = 2.0
_LINE_LIMIT = 16 * 1024 * 1024


async def spawn(
    module: str, *words: str, enters_places: bool = False
) -> asyncio.subprocess.Process:
    """
    Start a program of ours, in a session of its own.

    Args:
        module: What ``python -m`` runs.
        *words: What stands behind it on its command line.
        enters_places: It keeps the right to enter network namespaces.

    Raises:
        WorldError: It cannot be started.
    """
    # The package is found wherever this one was, whatever folder the world runs in.
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            preexec_fn=keep_admin_after_exec if enters_places else None,
            limit=_LINE_LIMIT,
        )
    except OSError as error:
        raise WorldError(f"cannot start {module} with {sys.executable}: {error}") from None


async def read_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """
    Return the next message of a program.

    Raises:
        WorldError: It ended instead.
    """
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        assert process.stderr is not None
        words = (await process.stderr.read()).decode(errors="replace").strip()
        raise WorldError(f"the probe of the links ended early: {words or 'it said nothing'}")
    answer: dict[str, Any] = json.loads(line)
    return answer


async def end(process: asyncio.subprocess.Process) -> None:
    """Close a program's standard input, wait for its end, and kill it if it takes long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
