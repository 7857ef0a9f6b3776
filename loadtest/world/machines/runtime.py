"""The life of one machine: start, health, exit, restart, stop, destruction."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import UTC, datetime

from loadtest.errors import LoadtestError, WorldError
from loadtest.fly.services import MachineCheck
from loadtest.world.edge.types import StaticFolder
from loadtest.world.hosts.host import AUTHORITIES, MachineHost
from loadtest.world.hosts.listeners import ListenerTable
from loadtest.world.machines.caches import launch_cache
from loadtest.world.machines.checks import named_checks, pause_s, probe
from loadtest.world.machines.context import WorldContext, runs_postgres
from loadtest.world.machines.databases import launch_postgres
from loadtest.world.machines.environment import (
    declared_ports,
    fly_environment,
    internal_ports,
    trust_variables,
    with_real_ports,
)
from loadtest.world.machines.guest_files import guest_files
from loadtest.world.machines.programs import (
    AppProgram,
    PostgresProgram,
    Program,
    launch_app,
    launch_image,
    signal_number,
)
from loadtest.world.machines.statics import static_folders
from loadtest.world.machines.store import CheckResult, MachineRecord
from loadtest.world.spec import ImageSpec

_POSTGRES_READY_S = 30.0
_LAUNCH_FAILED = 127  # what a shell answers when there is no such command
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_STABLE_S = 60.0
_LISTENERS_EAGER_S = 0.05
_LISTENERS_S = 1.0


class MachineRuntime:
    """
    Runs one machine.

    Args:
        machine: What it is; its state is kept up to date.
        context: What it shares with the others.
    """

    def __init__(self, machine: MachineRecord, context: WorldContext) -> None:
        self.machine = machine
        self._context = context
        self._wanted = False
        self._life: asyncio.Task[None] | None = None
        self._program: Program | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start it unless it runs; returns before it is started."""
        async with self._turn:
            if self._life is not None and not self._life.done():
                self._resume()
                return
            self._wanted = True
            self.machine.restarts = 0
            self.machine.set_state("starting", "start", source="user")
            self._life = asyncio.create_task(self._live(), name=f"machine-{self.machine.name}")

    async def stop(self, number: int | None = None, timeout_s: float | None = None) -> None:
        """
        Stop it and return when it is stopped.

        Args:
            number: Signal; None means the one its config names.
            timeout_s: Seconds until it is killed; None means those its config names.
        """
        async with self._turn:
            if self._life is None or self._life.done():
                if self.machine.state == "created":
                    self.machine.set_state("stopped", "stop", source="user")
                return
            config = self.machine.config
            self._wanted = False
            self._resume()
            self.machine.set_state("stopping", "stop", source="user")
            if self._program is None:  # still on its way up, or between two tries
                self._life.cancel()
            else:
                wanted = number if number is not None else signal_number(config.stop_signal)
                await self._program.stop(
                    wanted, config.stop_timeout_s if timeout_s is None else timeout_s
                )
            await asyncio.wait([self._life])
            if self.machine.state == "stopping":  # it was between two tries, so nothing ended
                self.machine.set_state("stopped")

    async def suspend(self) -> None:
        """Let its program stand still until it is started; what cannot is stopped, as on Fly."""
        machine, program = self.machine, self._program
        if machine.state != "started" or not isinstance(program, AppProgram):
            await self.stop()
            return
        async with self._turn:
            program.suspend()
            machine.set_state("suspended", "suspend", source="user")

    def _resume(self) -> None:
        if self.machine.state == "suspended" and isinstance(self._program, AppProgram):
            self._program.resume()
            self.machine.set_state("started", "start", source="user")

    async def destroy(self) -> None:
        """Stop it at once and give back all it holds."""
        self.machine.set_state("destroying", "destroy", source="user")
        await self.stop(signal.SIGKILL, 0.0)
        await self._context.network.close_links(self.machine)
        if self._context.hosts is not None:
            await self._context.hosts.close(self.machine)
        if not self.machine.place:
            for port in self.machine.ports.values():
                self._context.ports.give_back(port)
        self.machine.ports.clear()
        self.machine.set_state("destroyed", "destroy")

    async def kill(self, *, again: bool) -> None:
        """
        End its program at once, as a crash does.

        Args:
            again: Start it whatever its restart policy says; else that decides.
        """
        if again:
            await self.stop(signal.SIGKILL, 0.0)
            await self.start()
        elif self._program is not None:
            await self._program.stop(signal.SIGKILL, 0.0)

    def signal(self, number: int) -> None:
        """Send a signal to its program, if there is one."""
        if isinstance(self._program, AppProgram):
            self._program.send(number)

    async def _live(self) -> None:
        """Run its program until it is not wanted any more or has failed for good."""
        machine, policy = self.machine, self.machine.config.restart_policy
        while True:
            began = time.monotonic()
            code, output = await self._run_once()
            if time.monotonic() - began > _STABLE_S:
                machine.restarts = 0
            again = self._wanted and (policy == "always" or (policy == "on-failure" and code != 0))
            again = again and machine.restarts < machine.config.max_retries
            self._note_exit(code, output, restarting=again)
            if not again:
                break
            machine.restarts += 1
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (machine.restarts - 1)))
        if machine.config.auto_destroy and self._wanted:
            asyncio.get_running_loop().create_task(self.destroy())

    async def _run_once(self) -> tuple[int, str]:
        """Run its program once; return its exit code and its last lines."""
        machine = self.machine
        checks: list[asyncio.Task[None]] = []
        program: Program | None = None
        try:
            program = self._program = await self._launch()
            machine.pid = program.pid
            self._context.registry.add(program.pid, program.stop_signal)
            checks = self._start_checks(program)
            if self._wanted:
                machine.set_state("started", "start")
            code = await program.wait()
            output = program.last_lines()
        except LoadtestError as error:
            code, output = _LAUNCH_FAILED, str(error)
        except asyncio.CancelledError:
            code, output = 128 + signal.SIGKILL, ""
            if program is not None:
                await program.stop(signal.SIGKILL, 0.0)
        finally:
            for check in checks:
                check.cancel()
            if program is not None:
                self._context.registry.remove(program.pid)
            self._program = machine.pid = None
        return code, output

    async def _launch(self) -> Program:
        machine, context = self.machine, self._context
        config = machine.config
        app = context.store.apps[machine.app]
        if runs_postgres(config):
            return await launch_postgres(machine, context)
        if context.runs_cache(config):
            return await launch_cache(machine, context)
        image = context.image(config.image)
        assert image is not None, "creation refuses unknown images"
        machine.statics = await self._statics(image)
        own = {**image.env, **config.env, **app.secrets}  # secrets win over env of the same name
        host: MachineHost | None = None
        if context.hosts is not None and not machine.generates_load:
            machine.ports.update({port: port for port in declared_ports(config)})
            if "PORT" not in own and config.services:
                own["PORT"] = str(config.services[0].internal_port)
            host = await context.hosts.settle(machine, own)
            trusted = context.authority.bundle if image.archive is None else AUTHORITIES
            own = {**trust_variables(str(trusted)), **own}
        else:
            for port in internal_ports(config, own):
                if port not in machine.ports:
                    machine.ports[port] = context.ports.take()
            own = with_real_ports(config, own, machine.ports)
            own = await context.network.rewrite_env(machine, own)
        if machine.http_port is not None:
            if app.addresses:  # without one nobody outside can name the app
                await context.edges.ensure(machine.app)
            await context.network.open_to_edges(machine)
        platform = fly_environment(
            app=machine.app,
            machine_id=machine.id,
            instance_id=machine.instance_id,
            region=machine.region,
            config=config,
            private_ip=machine.private_ip if host else "127.0.0.1",
        )
        if image.archive is not None and host is not None:
            return await launch_image(
                context.unpacked,
                image.archive,
                config,
                host,
                env={**own, **platform},
                log=context.base / "logs" / machine.id,
                stop_signal=signal_number(config.stop_signal),
                hide=tuple(app.secrets.values()),
                files=guest_files(config.files, app.secrets),
            )
        return await launch_app(
            [*config.entrypoint, *config.cmd],
            cwd=image.cwd,
            env={**context.environment, **own, **platform},
            log=context.base / "logs" / machine.id,
            stop_signal=signal_number(config.stop_signal),
            hide=tuple(app.secrets.values()),
            host=host,
            templates=context.templates,
        )

    async def _statics(self, image: ImageSpec) -> tuple[StaticFolder, ...]:
        """Return where files lie that edges serve: in the image as it is shipped, or its folder."""
        config = self.machine.config
        if not config.statics:
            return ()
        if image.archive is None:
            return static_folders(config, image.cwd, whole_image=False)
        root = await self._context.unpacked.root(image.archive)
        return static_folders(config, root.tree, whole_image=True)

    def _start_checks(self, program: Program) -> list[asyncio.Task[None]]:
        machine = self.machine
        named = named_checks(machine.config)
        if isinstance(program, PostgresProgram):
            # The image's own check programs are not here; the server itself is asked instead.
            machine.checks = {name: CheckResult(name, True) for name in named or ("pg",)}
            return [asyncio.create_task(self._watch_postgres(program))]
        machine.checks = {
            name: CheckResult(name, routing) for name, (_, _, routing) in named.items()
        }
        tasks = [
            asyncio.create_task(self._watch(program, name, check, port))
            for name, (check, port, _) in named.items()
        ]
        if machine.place:
            tasks.append(asyncio.create_task(self._watch_listeners(program)))
        return tasks

    async def _watch_listeners(self, program: Program) -> None:
        """Note which ports the program listens on, and on which address; never returns."""
        machine = self.machine
        table = ListenerTable(self._context.sockets, machine.place, program.pid)
        try:
            while True:
                found = table.ports()
                if found != machine.dialled:
                    machine.dialled = found
                    machine.ports.update({port: port for port in found})
                    machine.touch()
                settled = all(port in found for port in declared_ports(machine.config))
                await asyncio.sleep(_LISTENERS_S if settled else _LISTENERS_EAGER_S)
        finally:
            table.close()

    async def _watch(self, program: Program, name: str, check: MachineCheck, port: int) -> None:
        """
        Probe again and again; a machine that has passed once is probed at the interval.

        While it fails, the check tells the end of the program's log too: nobody else can see it.
        """
        machine = self.machine
        while True:
            address = machine.address(machine.ports[port])
            wrong = await probe(check, address, self._context.sockets)
            if wrong and machine.dialled and port not in machine.dialled:
                others = ", ".join(map(str, sorted(machine.dialled)))
                wrong += f"; the program listens on {others}, fly.toml asks {port} (internal_port)"
            told = "\n".join(filter(None, (program.last_lines(), wrong))) if wrong else "ok"
            self.machine.set_check(name, "critical" if wrong else "passing", told)
            await asyncio.sleep(pause_s(check, passed=not wrong))

    async def _watch_postgres(self, program: PostgresProgram) -> None:
        status, output = "passing", "ok"
        try:
            await program.running.ready(_POSTGRES_READY_S)
        except WorldError as error:
            status, output = "critical", str(error)
        for name in self.machine.checks:
            self.machine.set_check(name, status, output)

    def _note_exit(self, code: int, output: str, *, restarting: bool) -> None:
        machine = self.machine
        told = f"the process ended with exit code {code}" + (f"\n{output}" if output else "")
        for check in machine.checks.values():
            check.status, check.output = "critical", told
        ended: dict[str, object] = {
            "exit_code": code,
            "guest_exit_code": code,
            "guest_signal": code - 128 if code > 128 else -1,
            "oom_killed": False,
            "requested_stop": not self._wanted,
            "restarting": restarting,
            "exited_at": datetime.now(UTC).isoformat(),
            "output": output,
        }
        state = "starting" if restarting else "stopped"
        machine.set_state(
            state, "exit", exit_event=ended, restart_count=machine.restarts + restarting
        )
