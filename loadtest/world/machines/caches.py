"""Starts the machine of a Redis image: Valkey, on a host of its own or on a port of loopback."""

from __future__ import annotations

from dataclasses import replace

from loadtest.fly.values import split_image
from loadtest.world.caches.binary import find_cache_server
from loadtest.world.caches.command import CacheCommand, configuration, read_command
from loadtest.world.machines.context import WorldContext
from loadtest.world.machines.environment import declared_ports, fly_environment
from loadtest.world.machines.guest_files import guest_files
from loadtest.world.machines.programs import AppProgram, launch_app, signal_number
from loadtest.world.machines.store import MachineRecord

_HOST = "127.0.0.1"
_EVERYWHERE = ("*", "-::*")  # a machine without IPv6 does without
_LEADERS = ("replicaof", "slaveof")


async def launch_cache(machine: MachineRecord, context: WorldContext) -> AppProgram:
    """
    Start the server of a machine whose image is Redis-compatible.

    Args:
        machine: The machine; its ports are filled in.
        context: What it shares with the others.

    Raises:
        WorldError: There is no server for this computer, or the command asks for what no server
            here can do.
    """
    config, app = machine.config, context.store.apps[machine.app]
    server = context.cache_server = find_cache_server()
    env = {**config.env, **app.secrets}
    words = (*config.entrypoint, *config.cmd)
    image, _ = split_image(config.image)
    files = guest_files(config.files, app.secrets)
    texts = {path: content.decode("utf-8", "replace") for path, content in files.items()}
    command = read_command(image, words, env, texts)
    wanted = dict.fromkeys((command.port, *declared_ports(config)))
    platform = fly_environment(
        app=machine.app,
        machine_id=machine.id,
        instance_id=machine.instance_id,
        region=machine.region,
        config=config,
        private_ip=machine.private_ip if context.hosts is not None else _HOST,
    )
    host, own = None, dict(config.env)
    bind: tuple[str, ...] = _EVERYWHERE
    if context.hosts is not None:
        machine.ports.update({port: port for port in wanted})
        host = await context.hosts.settle(machine, env)
    else:
        bind = (_HOST,)
        for port in wanted:
            if port not in machine.ports:
                machine.ports[port] = context.ports.take()
        own = await context.network.rewrite_env(machine, own)
        command = await _on_loopback(command, machine, context)
    folder = context.base / "caches" / machine.id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "server.conf"
    file.touch(mode=0o600)
    file.write_text(
        configuration(command, folder, machine.ports[command.port], bind), encoding="utf-8"
    )
    return await launch_app(
        [*command.before, str(server.program), str(file)],
        cwd=folder,
        env={**context.environment, **own, **platform},
        log=context.base / "logs" / machine.id,
        stop_signal=signal_number(config.stop_signal),
        hide=tuple(app.secrets.values()),
        host=host,
    )


async def _on_loopback(
    command: CacheCommand, machine: MachineRecord, context: WorldContext
) -> CacheCommand:
    """Lead a replica to its leader's link, and let nothing listen but loopback."""
    found = []
    for name, *values in command.directives:
        if name == "bind":
            continue
        if name in _LEADERS and len(values) == 2:
            told = await context.network.rewrite_env(machine, {name: ":".join(values)})
            found.append((name, *told[name].rsplit(":", 1)))
        else:
            found.append((name, *values))
    return replace(command, directives=tuple(found))
