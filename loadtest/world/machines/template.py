"""
A program that is imported once and forked for each machine that runs it.

``python -m loadtest.world.machines.template DESCRIPTOR`` imports the modules that the first message
on the descriptor names, then makes a process for each request that comes on it.  Importing is most
of what the start of a small Python program costs, and many machines of a world run the same one.

A process made so is what starting the command would have made: a child of the world, leader of its
own session, in its own network, with its own arguments and environment, also where others read
them (``/proc/PID/cmdline``, ``environ``: proc(5), fields 48 to 51 of ``/proc/PID/stat``).

The first message is ``{"modules": [...]}``, its answer ``{"ready": true}``.  A request is one JSON
object with its descriptors, see `Birth`; its answer is ``{"pid": n}`` or ``{"error": sentence}``.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.kernel import namespaces
from loadtest.world.guard.reaper import die_with_parent

ROOM = "LOADTEST_TEMPLATE_ROOM"
"""Variable whose only use is its length: a fork's environment is written where it stood."""

ROOM_BYTES = 32_768
REQUEST_BYTES = 262_144
_ARGUMENTS_START = 45  # of the fields after the program's name: start and end, then the environment

_fork, _waitpid, _close = os.fork, os.waitpid, os.close
"""As they are here: what a program imports, as gevent, may put others in their place."""


@dataclass(frozen=True, slots=True)
class Birth:
    """
    What a fork is to be; its descriptors are its output and, if it has one, its network.

    Args:
        words: The command: an interpreter, ``-m``, a module, its arguments.
        folder: Where it works.
        env: Its whole environment.
        hostname: Its machine's name; empty where it has no network of its own.
        files: Files that its machine shows in place of others, by the path of those.
    """

    words: tuple[str, ...]
    folder: str
    env: dict[str, str]
    hostname: str = ""
    files: dict[str, str] | None = None

    def encode(self) -> bytes:
        """Return it as a request."""
        return json.dumps(asdict(self)).encode()

    @property
    def environ(self) -> bytes:
        """Return the environment as the kernel shows one."""
        return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in self.env.items())


@dataclass(frozen=True, slots=True)
class _Area:
    """Where in this process's memory the kernel looks for its arguments or its environment."""

    start: int
    end: int

    def write(self, text: bytes) -> None:
        room = self.end - self.start
        ctypes.memmove(self.start, text[: room - 1].ljust(room, b"\0"), room)


def _areas() -> tuple[_Area, _Area]:
    """Return where arguments and environment stand; ValueError where the kernel does not tell."""
    fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    numbers = list(map(int, fields[_ARGUMENTS_START : _ARGUMENTS_START + 4]))
    if len(numbers) < 4 or not all(numbers) or numbers[3] - numbers[2] < ROOM_BYTES:
        raise ValueError("the kernel does not tell where arguments and environment stand")
    return _Area(*numbers[:2]), _Area(*numbers[2:])


def serve(requests: socket.socket, world: int) -> Birth | None:
    """
    Import what is asked for, then make a process for each request.

    Args:
        requests: Where they come.
        world: Process id of the world, whose children they become.

    Returns:
        In a process that was made: what it is to be.  In this one, once requests end: None.
    """
    areas = _areas()
    for module in json.loads(requests.recv(REQUEST_BYTES))["modules"]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is shared stays shared: the collector would write to it
    requests.send(json.dumps({"ready": True}).encode())
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 2)
        if not message:
            return None
        birth = Birth(**json.loads(message))
        made = _make(birth, descriptors, areas, world)
        if made is None:
            requests.close()
            return birth
        for descriptor in descriptors:
            _close(descriptor)
        requests.send(json.dumps(made).encode())


def _make(
    birth: Birth, descriptors: Sequence[int], areas: tuple[_Area, _Area], world: int
) -> dict[str, object] | None:
    """
    Fork twice, so that the process is the world's child and nobody else's; return the answer.

    The one between ends at once; that the process has another parent then is certain once it was
    waited for.  In the process that was made: None.
    """
    told, tell = os.pipe()
    waits, go = os.pipe()
    between = _fork()
    if between == 0:
        _close(go)
        pid = _fork()
        if pid:
            os.write(tell, f"{pid}\n".encode())
            os._exit(0)
        _close(told)
        os.read(waits, 1)
        _close(waits)
        try:
            _become(birth, descriptors, areas, world)
        except (OSError, ValueError) as error:
            os.write(tell, str(error).encode(errors="replace"))
            os._exit(1)
        _close(tell)
        return None
    _waitpid(between, 0)
    for descriptor in (tell, waits, go):
        _close(descriptor)
    with os.fdopen(told, "rb") as said:
        first, _, wrong = said.read().decode(errors="replace").partition("\n")
    return {"error": wrong} if wrong or not first else {"pid": int(first)}


def _become(
    birth: Birth, descriptors: Sequence[int], areas: tuple[_Area, _Area], world: int
) -> None:
    """Turn a fork into a machine's process; OSError says what the kernel refused."""
    os.setsid()
    bind_to_world = die_with_parent()
    if bind_to_world is not None:
        bind_to_world()
    if os.getppid() != world:
        raise ProcessLookupError("the world has ended")
    output, *network = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for descriptor in network:
        namespaces.enter(descriptor, namespaces.NEW_NETWORK)
    if birth.hostname:
        namespaces.unshare(namespaces.NEW_MOUNTS | namespaces.NEW_HOSTNAME)
        namespaces.set_hostname(birth.hostname)
        for place, file in (birth.files or {}).items():
            namespaces.bind(file, place)
    for descriptor in (nothing, *descriptors):
        _close(descriptor)
    if network and os.geteuid() != 0:  # what starting the command would have made has no rights
        namespaces.drop_rights()
        if bind_to_world is not None:
            bind_to_world()
    os.chdir(birth.folder)
    os.environ.clear()
    os.environ.update(birth.env)
    time.tzset()
    arguments, environment = areas
    arguments.write(b"".join(os.fsencode(word) + b"\0" for word in birth.words))
    environment.write(birth.environ)


def run(birth: Birth) -> None:
    """Run the command of a process that was made, as the interpreter would."""
    if "gevent" in sys.modules:  # its loop is to know that this is another process
        importlib.import_module("gevent").reinit()
    module, *arguments = birth.words[2:]
    sys.path[0] = birth.folder
    sys.argv = [module, *arguments]
    if not hasattr(sys.modules.get(module), "__path__"):
        sys.modules.pop(module, None)  # imported for what it imports; it runs as the main module
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Be a template until requests end; in each process that it made, run its command."""
    try:
        birth = serve(socket.socket(fileno=int(sys.argv[1])), os.getppid())
    except (OSError, ValueError):  # the world, which reads this from the end of the line, goes on
        return
    if birth is not None:
        run(birth)


if __name__ == "__main__":
    main()
