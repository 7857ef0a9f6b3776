"""What a machine runs: a program of the app, or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from loadtest.errors import WorldError
from loadtest.fly.machines import MachineConfig
from loadtest.world.guard.reaper import die_with_parent
from loadtest.world.hosts.host import MachineHost
from loadtest.world.images.store import ImageStore
from loadtest.world.machines.logs import open_log, tail
from loadtest.world.machines.templates import ForkedProcess, Templates
from loadtest.world.postgres.server import RunningPostgres
from loadtest.world.postgres.tls import TlsDoor

_KILLED_S = 2.0


class Program(Protocol):
    """A running program of a machine, leader of its own process group."""

    @property
    def pid(self) -> int:
        """Return its process id."""
        ...

    @property
    def stop_signal(self) -> int:
        """Return the signal that the guardian ends it with if the world cannot."""
        ...

    async def wait(self) -> int:
        """Return its exit code once it has ended; 128 + n after signal n."""
        ...

    async def stop(self, number: int, timeout_s: float) -> None:
        """Send a signal, wait, then kill; returns when it is gone."""
        ...

    def last_lines(self) -> str:
        """Return the end of its output."""
        ...


class AppProgram:
    """A program of an app; its output goes to a file."""

    def __init__(
        self,
        process: asyncio.subprocess.Process | ForkedProcess,
        log: Path,
        stop_signal: int,
        hide: tuple[str, ...],
        log_start: int = 0,
    ) -> None:
        self._process = process
        self._log = log
        self._log_start = log_start
        self._hide = hide
        self.stop_signal = stop_signal

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Return its exit code once it has ended, with whatever it left in its group killed."""
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        return code if code >= 0 else 128 - code

    async def stop(self, number: int, timeout_s: float) -> None:
        """Send a signal to the program, wait, then kill its whole group."""
        self.send(number)
        try:
            await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
            await asyncio.wait_for(self._process.wait(), _KILLED_S)

    def send(self, number: int) -> None:
        """Send a signal to the program."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def suspend(self) -> None:
        """Let it and all of its group stand still."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_group(signal.SIGCONT)

    def last_lines(self) -> str:
        """Return the end of its output, secrets left out."""
        return tail(self._log, hide=self._hide, start=self._log_start)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class PostgresProgram:
    """
    PostgreSQL as a machine's program.

    Args:
        running: The server.

    Attributes:
        door: Where it is reached over TLS, if anywhere; it is closed when the server has ended.
    """

    stop_signal = signal.SIGQUIT  # immediate shutdown, which still frees the shared memory

    def __init__(self, running: RunningPostgres) -> None:
        self.running = running
        self.door: TlsDoor | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        return self.running.pid

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        code = await self.running.wait()
        self._close()
        return code if code >= 0 else 128 - code

    async def stop(self, _number: int, _timeout_s: float) -> None:
        """Shut the server down in its own way, which is quick."""
        await self.running.stop()
        self._close()

    def _close(self) -> None:
        if self.door is not None:
            self.door.close()

    def last_lines(self) -> str:
        """Return the end of its log."""
        return self.running.last_lines()


class TiedPostgres(PostgresProgram):
    """
    PostgreSQL whose machine's command has words before the server's: none outlives the other.

    Args:
        program: The server.
        wrapper: What those words run.
    """

    def __init__(self, program: PostgresProgram, wrapper: AppProgram) -> None:
        super().__init__(program.running)
        self.door = program.door
        self._wrapper = wrapper

    async def wait(self) -> int:
        """Return the exit code of the one that ended first, once both have."""
        server = asyncio.create_task(super().wait())
        wrapper = asyncio.create_task(self._wrapper.wait())
        try:
            await asyncio.wait((server, wrapper), return_when=asyncio.FIRST_COMPLETED)
            first = server if server.done() else wrapper
            await self.stop(signal.SIGQUIT, 0.0)
            await asyncio.wait((server, wrapper))
            return first.result()
        finally:
            server.cancel()
            wrapper.cancel()

    async def stop(self, number: int, timeout_s: float) -> None:
        """Shut the server down, then end what stands before it."""
        await super().stop(number, timeout_s)
        await self._wrapper.stop(signal.SIGKILL, timeout_s)


async def launch_app(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    stop_signal: int,
    hide: tuple[str, ...],
    host: MachineHost | None = None,
    templates: Templates | None = None,
) -> AppProgram:
    """
    Start an app's program.

    Args:
        command: Program and arguments; the program is looked up on the PATH of ``env``.
        cwd: Folder it runs in.
        env: Its whole environment.
        log: File its output is appended to.
        stop_signal: What ends it politely.
        hide: Secrets that must not be shown from its output.
        host: The host it runs on, if machines are hosts.
        templates: What makes processes of our own programs.

    Raises:
        WorldError: There is no such program, or it cannot be run.
    """
    if not command:
        raise WorldError(
            "no command: local images have none of their own; "
            'name one under [processes] in fly.toml, such as app = "python -m my_app"'
        )
    program = command[0]
    found = cwd / program if "/" in program else shutil.which(program, path=env["PATH"])
    if found is None or not os.access(found, os.X_OK):
        raise WorldError(f"command {program!r} was not found in {cwd} or on PATH {env['PATH']}")
    words = [str(found), *command[1:]]
    if templates is not None:
        with _output(log) as (descriptor, begin):
            forked = await templates.spawn(words, cwd, env, host, descriptor)
            if forked is not None:
                return AppProgram(forked, log, stop_signal, hide, begin)
    enter = host.enter if host else None
    return await _spawn(words, cwd, env, enter, log=log, stop_signal=stop_signal, hide=hide)


async def launch_image(
    images: ImageStore,
    archive: Path,
    config: MachineConfig,
    host: MachineHost,
    *,
    env: Mapping[str, str],
    log: Path,
    stop_signal: int,
    hide: tuple[str, ...],
    files: Mapping[str, bytes],
) -> AppProgram:
    """
    Start the program of an image, in a file tree of its own.

    Args:
        images: Where images are unpacked.
        archive: The image.
        config: The machine's, which may name another command.
        host: The machine's network.
        env: Its environment, over the image's own.
        log: File its output is appended to.
        stop_signal: What ends it politely.
        hide: Secrets that must not be shown from its output.
        files: Contents of files that are written into its tree, by path.

    Raises:
        PlanError: It is no image, or one for another machine.
        WorldError: It has no program, or that cannot be run.
    """
    root = await images.root(archive)
    words = root.config.words(config.entrypoint, config.cmd, whole=config.exec_form)
    if not words:
        raise WorldError(
            f"image {archive}: has neither ENTRYPOINT nor CMD; name a command under [processes] in "
            "fly.toml"
        )
    try:
        enter = root.entrance(
            hostname=host.name,
            files={
                **files,
                **{f"/etc/{name}": text.encode() for name, text in host.texts().items()},
            },
            volumes=tuple(mount.path for mount in config.mounts),
            enter_network=host.enter_network,
            user_namespace=images.user_namespace,
        )
        whole = root.environment(env)
    except (OSError, ValueError) as error:
        raise WorldError(f"image {archive}: {error}") from error
    return await _spawn(words, None, whole, enter, log=log, stop_signal=stop_signal, hide=hide)


async def _spawn(
    words: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str],
    enter: Callable[[], None] | None,
    *,
    log: Path,
    stop_signal: int,
    hide: tuple[str, ...],
) -> AppProgram:
    program = words[0]
    try:
        with _output(log) as (descriptor, begin):
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                preexec_fn=_before_exec(enter),
            )
    except OSError as error:
        raise WorldError(f"command {program!r} cannot be run: {error.strerror or error}") from error
    except subprocess.SubprocessError as error:  # what the child raised before exec
        raise WorldError(
            f"command {program!r} cannot be run: its host could not be entered: {error}"
        ) from error
    return AppProgram(process, log, stop_signal, hide, begin)


@contextmanager
def _output(log: Path) -> Iterator[tuple[int, int]]:
    """Give the descriptor of a log, and where what is written now begins."""
    descriptor = open_log(log)
    try:
        yield descriptor, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _before_exec(enter: Callable[[], None] | None) -> Callable[[], None] | None:
    """Return what a child does between fork and exec."""
    bind_to_parent = die_with_parent()
    if enter is None or bind_to_parent is None:
        return bind_to_parent

    def prepare() -> None:
        bind_to_parent()
        try:
            enter()
        except (OSError, ValueError) as error:  # of which only the text comes home
            raise subprocess.SubprocessError(str(error)) from error
        bind_to_parent()  # a change of ids has undone it

    return prepare


def signal_number(name: str) -> int:
    """
    Return the number of a signal.

    Raises:
        ValueError: There is no such signal here.
    """
    try:
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError:
        raise ValueError(f"signal {name!r} is unknown") from None
