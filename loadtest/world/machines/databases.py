"""Starts the machine of a database: the wheel's PostgreSQL, with what its image promises."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.world.machines.aims import PRIMARY_PORT, SECURE_PRIMARY_PORT
from loadtest.world.machines.context import POSTGRES_COMMAND, WorldContext
from loadtest.world.machines.programs import (
    AppProgram,
    PostgresProgram,
    TiedPostgres,
    launch_app,
)
from loadtest.world.machines.store import MachineRecord
from loadtest.world.postgres.server import PostgresSpec, start_postgres
from loadtest.world.postgres.shared import templates_dir
from loadtest.world.postgres.staleness import ProbedServer, StalenessProbe
from loadtest.world.postgres.tls import TlsDoor

_REPLICA_PORT = 5433
_DIGITS = 16


async def launch_postgres(machine: MachineRecord, context: WorldContext) -> PostgresProgram:
    """
    Start the server of a database's machine, primary or replica as its role says.

    Args:
        machine: The machine; its ports are filled in.
        context: What it shares with the others.

    Raises:
        WorldError: A password is missing, or the server did not start.
    """
    env = {**machine.config.env, **context.store.apps[machine.app].secrets}
    for key in ("OPERATOR_PASSWORD", "REPL_PASSWORD"):
        if not env.get(key):
            raise WorldError(
                f"app {machine.app}: secret {key} is missing; its image wants "
                "OPERATOR_PASSWORD (of the role postgres) and REPL_PASSWORD"
            )
    if not machine.ports:
        machine.ports[_REPLICA_PORT] = machine.ports[PRIMARY_PORT] = context.ports.take()
    replica, bin_dir = machine.postgres_role == "replica", context.spec.postgres_bin
    databases = _databases(env)
    running = await start_postgres(
        PostgresSpec(
            machine_id=machine.id,
            region=machine.region,
            role="replica" if replica else "primary",
            base_dir=context.base,
            port=machine.ports[_REPLICA_PORT],
            template_dir=_template(machine.app, env, databases, context),
            superuser_password=env["OPERATOR_PASSWORD"],
            replication_password=env["REPL_PASSWORD"],
            database=databases[0],
            more_databases=databases[1:],
            primary_address=await context.network.open_to_primary(machine) if replica else None,
            bin_dir=Path(bin_dir) if bin_dir else None,
            shares=context.hosts is not None,
        )
    )
    context.postgres = running.binaries
    program = PostgresProgram(running)
    words = (*machine.config.entrypoint, *machine.config.cmd)
    before = words[: -1 - len(POSTGRES_COMMAND)]
    try:
        if not replica:
            program.door = await _open_to_tls(machine, context)
        if not before or words[-len(POSTGRES_COMMAND) :] != POSTGRES_COMMAND:
            return program
        return TiedPostgres(program, await _launch_wrapper(machine, context, before, env))
    except BaseException:
        await program.stop(signal.SIGQUIT, 0.0)
        raise


async def _open_to_tls(machine: MachineRecord, context: WorldContext) -> TlsDoor:
    """Let those in who ask for TLS, at a port of their own."""
    if SECURE_PRIMARY_PORT not in machine.ports:
        machine.ports[SECURE_PRIMARY_PORT] = context.ports.take()
    door = TlsDoor(
        context.authority.private_context(machine.app),
        machine.ports[SECURE_PRIMARY_PORT],
        machine.ports[PRIMARY_PORT],
    )
    try:
        await door.open()
    except OSError as error:
        raise WorldError(f"machine {machine.id}: no port for TLS: {error}") from None
    return door


def staleness_probes(context: WorldContext) -> dict[str, StalenessProbe]:
    """Return a probe for each database that has replicas, by the app's name."""
    found = {}
    for app in sorted(context.store.apps):
        servers: dict[str, list[ProbedServer]] = {"primary": [], "replica": []}
        for machine in context.store.machines(app):
            if machine.postgres_role and machine.state == "started":
                env = {**machine.config.env, **context.store.apps[app].secrets}
                primary = env.get("PRIMARY_REGION") or context.spec.primary_region
                servers[machine.postgres_role].append(
                    ProbedServer(
                        region=machine.region,
                        port=machine.ports[_REPLICA_PORT],
                        password=env["OPERATOR_PASSWORD"],
                        database=_databases(env)[0],
                        one_way_ns=context.spec.one_way_ns(primary, machine.region),
                    )
                )
        if servers["primary"] and servers["replica"]:
            found[app] = StalenessProbe(servers["primary"][0], servers["replica"])
    return found


def _databases(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of a server's databases, the app's own first."""
    first = env.get("DATABASE_NAME") or env.get("POSTGRES_DB") or "recipes"
    return (first, *filter(None, env.get("MORE_DATABASES", "").split(",")))


def _template(
    app: str, env: Mapping[str, str], databases: tuple[str, ...], context: WorldContext
) -> Path:
    """
    Return the data directory that the servers of one deployment are made from.

    Passwords are part of it, so a later deployment with others begins with nothing, as with volumes
    of its own.
    """
    what = "\0".join((env["OPERATOR_PASSWORD"], env["REPL_PASSWORD"], *databases))
    digest = hashlib.sha256(what.encode()).hexdigest()[:_DIGITS]
    return templates_dir(context.base) / f"{app}-{digest}"


async def _launch_wrapper(
    machine: MachineRecord, context: WorldContext, words: tuple[str, ...], env: dict[str, str]
) -> AppProgram:
    """
    Run what stands before a database's own command, around a program that only waits.

    The server here is the world's child and cannot be the wrapper's too; their ends are tied.
    """
    return await launch_app(
        [*words, "tail", "-f", os.devnull],
        cwd=context.base,
        env={**context.environment, **await context.network.rewrite_env(machine, env)},
        log=context.base / "logs" / machine.id,
        stop_signal=signal.SIGTERM,
        hide=tuple(context.store.apps[machine.app].secrets.values()),
    )
