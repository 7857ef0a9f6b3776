"""
The world's own process: ``python -m loadtest.world FOLDER``, started by the guardian.

It reads its spec from the first line of standard input, tells of itself on standard output, and
takes everything down when standard input closes: the guardian's wish, or its end.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import LoadtestError, WorldError
from loadtest.kernel.descriptors import raise_descriptor_limit
from loadtest.world.guard.addresses import WorldAddress, write_address
from loadtest.world.guard.guardian import read_line
from loadtest.world.guard.reaper import become_subreaper, end_all, remove_dir
from loadtest.world.guard.remains import write_owner
from loadtest.world.hosts.host import release_places

if TYPE_CHECKING:
    from loadtest.world.hosts.layer import Layer
    from loadtest.world.machines.context import Registry
    from loadtest.world.spec import WorldSpec

_POLITE_S = 0.3
_HARD_S = 1.0


async def run(base: Path, spec: WorldSpec, registry: Registry, layer: Layer, why: str) -> None:
    """
    Run a world until it is told to end.

    Args:
        base: Its folder.
        spec: What it is like.
        registry: The line to the guardian.
        layer: What its machines are.
        why: Why they are not hosts, where they are not.
    """
    from loadtest.world.api.app import listen, make_server
    from loadtest.world.machines.supervisor import World

    ending = asyncio.Event()
    watch_for_the_end(ending)
    try:
        server_socket = listen(spec.api_port)
        world = await World.start(spec, base, registry, layer, why)
    except LoadtestError as error:
        registry.answer({"error": str(error)})
        return
    server = make_server(world)
    serving = asyncio.create_task(server.serve(sockets=[server_socket]))
    host, port = server_socket.getsockname()
    address = WorldAddress(f"http://{host}:{port}", world.token)
    write_address(base, address)
    registry.answer({"api": address.api_url, "token": address.token})
    broken = asyncio.create_task(world.broken())
    told = asyncio.create_task(ending.wait())
    await asyncio.wait([broken, told, serving], return_when=asyncio.FIRST_COMPLETED)
    if broken.done() and not told.done():
        logging.error("%s", broken.result())
    server.should_exit = server.force_exit = True
    await world.stop()
    for task in (broken, told, serving):
        task.cancel()
    await asyncio.gather(broken, told, serving, return_exceptions=True)


def watch_for_the_end(ending: asyncio.Event) -> None:
    """Set ``ending`` when standard input closes or a signal asks for the end."""
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        if not os.read(0, 4_096):
            loop.remove_reader(0)
            ending.set()

    loop.add_reader(0, on_input)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ending.set)


def import_early() -> None:
    """Import what `serve` needs while whoever wants a world is still finding out which."""
    for name in ("api.app", "hosts.layer", "machines.supervisor", "postgres.shared", "spec"):
        importlib.import_module(f"loadtest.world.{name}")


def serve(base: Path, told: bytes, sink: int) -> None:
    """
    Run the world of a spec, once this process is what the spec's layer wants.

    Args:
        base: Its folder.
        told: Its spec as JSON.
        sink: Descriptor of the line to the guardian.
    """
    import uvloop

    from loadtest.world.hosts.layer import become_world, choose
    from loadtest.world.machines.context import Registry
    from loadtest.world.spec import WorldSpec

    registry = Registry(base, sink)
    try:
        spec = WorldSpec.from_json(json.loads(told))
        layer, why = choose(spec.layer)
        if layer != "hosts" and any(image.archive for image in spec.images.values()):
            raise WorldError(
                f"images run in the hosts layer alone, which is not to be had here: {why}; "
                "run the app in its folder (--command), or see `network.layer` in docs/plan.md"
            )
        if layer == "hosts":
            become_world()  # while there is one thread
        if spec.database:
            from loadtest.world.postgres.shared import begin_early

            programs = Path(spec.postgres_bin) if spec.postgres_bin else None
            begin_early(base, programs, shares=layer == "hosts")
    except (LoadtestError, OSError) as error:
        registry.answer({"error": str(error)})
        return
    uvloop.run(run(base, spec, registry, layer, why))


def main() -> int:
    """Run the world in a folder; leave nothing of it behind."""
    base, guardian = Path(sys.argv[1]), os.getppid()
    # What libraries print must not be taken for a message to the guardian.
    sink = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    write_owner(base, os.getpid())
    raise_descriptor_limit()
    become_subreaper()
    try:
        import_early()
        if spec := read_line(0):
            serve(base, spec, sink)
    finally:
        end_all({}, polite_s=_POLITE_S, hard_s=_HARD_S)
        release_places(base)
        if os.getppid() != guardian:  # it was killed, so its work falls to us
            remove_dir(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
