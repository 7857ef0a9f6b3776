"""The world's hand on its templates: which commands are forked, and the processes made so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import keep_admin_after_exec
from loadtest.world.guard.reaper import die_with_parent
from loadtest.world.hosts.host import MachineHost
from loadtest.world.machines.template import ROOM, ROOM_BYTES, Birth

_ENGINE = ("loadtest.engine.worker.main", "loadtest.engine.coordinator.main")

FORKED: Mapping[str, tuple[str, ...]] = {
    "loadtest.refapp": (
        "loadtest.refapp.web",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.protocols.websockets.wsproto_impl",
        "uvicorn.server",
    ),
    **dict.fromkeys(_ENGINE, _ENGINE),
}
"""
Our own programs, and what the template of each imports.

Those with the same imports have one template: coordinator and workers both import Locust, which is
nearly all that either of them does until it works.
"""

_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "GEVENT")
"""Begin the names of variables that are read once, before a program's first line."""

_PACKAGE = Path(__file__).resolve().parents[2]


class ForkedProcess:
    """
    A child that a template made: what the world needs of `asyncio.subprocess.Process`.

    Args:
        pid: Its process id.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._descriptor, self._ended)

    async def wait(self) -> int:
        """Return its exit code once it has ended; -n after signal n."""
        return await asyncio.shield(self._code)

    def send_signal(self, number: int) -> None:
        """Send it a signal; ProcessLookupError if it has ended."""
        if self._code.done():
            raise ProcessLookupError
        os.kill(self.pid, number)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self._code.set_result(os.waitstatus_to_exitcode(status))


class Template:
    """
    A running template.

    Args:
        process: Its process.
        line: Where it takes requests.
    """

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._turn = asyncio.Lock()
        self._ready: bool | None = None

    @classmethod
    async def start(
        cls,
        python: str,
        modules: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        *,
        enters_places: bool = False,
    ) -> Template:
        """
        Start one; it imports meanwhile.

        Args:
            python: The interpreter.
            modules: What it imports.
            folder: Where it works until a fork works elsewhere.
            env: Its environment.
            enters_places: It keeps the right to enter network namespaces.

        Raises:
            OSError: It cannot be started.
        """
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            process = await asyncio.create_subprocess_exec(
                *(python, "-m", "loadtest.world.machines.template", str(its.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env={**env, ROOM: "-" * ROOM_BYTES},
                start_new_session=True,
                pass_fds=(its.fileno(),),
                preexec_fn=_before_exec(enters_places=enters_places),
            )
        ours.setblocking(False)
        ours.send(json.dumps({"modules": modules}).encode())
        return cls(process, ours)

    async def fork(self, birth: Birth, descriptors: Sequence[int]) -> ForkedProcess | None:
        """
        Make a process; None where this template cannot.

        Raises:
            WorldError: The process could not be made what it is to be.
        """
        async with self._turn:
            if self._ready is None:
                self._ready = "ready" in await self._answer()
            if not self._ready:
                return None
            try:
                socket.send_fds(self._line, [birth.encode()], list(descriptors))
            except OSError:  # it has ended
                self._ready = False
                return None
            answer = await self._answer()
        if "error" in answer:
            raise WorldError(str(answer["error"]))
        return ForkedProcess(int(str(answer["pid"]))) if answer else None

    async def stop(self) -> None:
        """End it; what it made lives on."""
        self._line.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _answer(self) -> dict[str, object]:
        """Return what it says; empty once it has ended."""
        try:
            message = await asyncio.get_running_loop().sock_recv(self._line, 65_536)
        except OSError:
            return {}
        answer: dict[str, object] = json.loads(message) if message else {}
        return answer


class Templates:
    """
    The templates of a world, each started when its program is first wanted or said to be.

    Args:
        folder: The world's.
        env: What every machine's environment starts from.
        enters_places: Machines are hosts of their own.
    """

    def __init__(
        self, folder: Path, env: Mapping[str, str], *, enters_places: bool = False
    ) -> None:
        self._folder = folder
        self._enters_places = enters_places
        self._env = dict(env)
        self._started: dict[tuple[str, tuple[str, ...]], asyncio.Task[Template]] = {}

    def begin(self, programs: Iterable[str]) -> None:
        """Start the templates of those programs that have one: machines will run them."""
        python = shutil.which("python", path=self._env["PATH"])
        for program in programs:
            if python and self._takes([python, "-m", program], self._folder, self._env):
                self._begun(python, program)

    async def spawn(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        host: MachineHost | None,
        output: int,
    ) -> ForkedProcess | None:
        """
        Make the process of a command, if it is one of `FORKED` and would be what a start makes.

        Args:
            words: The command, its program with its path.
            cwd: Folder it runs in.
            env: Its whole environment.
            host: The host it runs on, if machines are hosts.
            output: Descriptor that it prints to.

        Returns:
            None where it has to be started.

        Raises:
            WorldError: It could not enter its host.
        """
        if not self._takes(words, cwd, env):
            return None
        birth = Birth(
            tuple(words),
            str(cwd),
            dict(env),
            host.name if host else "",
            {str(target): str(source) for target, source in host.files.items()} if host else None,
        )
        if len(birth.environ) >= ROOM_BYTES:
            return None
        try:
            template = await asyncio.shield(self._begun(words[0], words[2]))
        except OSError:
            return None
        return await template.fork(birth, [output, *((host.descriptor,) if host else ())])

    async def stop(self) -> None:
        """End all of them."""
        for begun in self._started.values():
            with contextlib.suppress(OSError):
                await (await begun).stop()
        self._started.clear()

    def _begun(self, python: str, program: str) -> asyncio.Task[Template]:
        key = (python, FORKED[program])
        if key not in self._started:
            begun = Template.start(
                *(python, FORKED[program], self._folder, self._env),
                enters_places=self._enters_places,
            )
            self._started[key] = asyncio.create_task(begun, name=f"template-{program}")
        return self._started[key]

    def _takes(self, words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> bool:
        """Tell whether a fork of a template is what starting this command would make."""
        if not _can_wait() or len(words) < 3 or words[1] != "-m":
            return False
        if words[2] not in FORKED or Path(words[0]).parent != Path(sys.executable).parent:
            return False
        own = cwd / _PACKAGE.name  # which the command would import in place of this package
        if own.exists() and not own.samefile(_PACKAGE):
            return False
        return _read_at_start(env) == _read_at_start(self._env)


def _before_exec(*, enters_places: bool) -> Callable[[], None] | None:
    """Return what a template does between fork and exec, where an ordinary user's loses rights."""
    bind_to_world = die_with_parent()
    if not enters_places or os.geteuid() == 0:
        return bind_to_world

    def prepare() -> None:
        keep_admin_after_exec()
        if bind_to_world is not None:
            bind_to_world()

    return prepare


@cache
def _can_wait() -> bool:
    """Tell whether this system lets a process wait for one that it did not start itself."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a sandbox
        return False
    return True


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_AT_START)}
