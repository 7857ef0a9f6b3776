"""A primary, a replica and a way to start the app against them; made once for all modules."""

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from refapp_stage import PASSWORD, Stage, free_port

from loadtest.world.postgres.server import PostgresSpec, RunningPostgres, start_postgres


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    base = Path(tempfile.mkdtemp(prefix="refapp-test-"))
    port = free_port()

    async def start() -> list[RunningPostgres]:
        primary = PostgresSpec(
            machine_id="primary",
            region="cdg",
            role="primary",
            base_dir=base,
            port=port,
            template_dir=base / "template",
            superuser_password=PASSWORD,
            replication_password="r:e'p\\l",
        )
        replica = dataclasses.replace(
            primary,
            machine_id="replica",
            region="syd",
            role="replica",
            port=replica_port,
            primary_address=("127.0.0.1", port),
        )
        servers = list(await asyncio.gather(start_postgres(primary), start_postgres(replica)))
        try:
            await asyncio.gather(*(server.ready(30) for server in servers))
        except BaseException:
            await asyncio.gather(*(server.stop() for server in servers))
            raise
        return servers

    async def stop(servers: list[RunningPostgres]) -> None:
        await asyncio.gather(*(server.stop() for server in servers))

    replica_port = free_port()
    try:
        servers = asyncio.run(start())
        running = Stage(base, *servers, port, replica_port)
        try:
            seeded = running.seed()
            assert seeded.returncode == 0, seeded.stderr
            yield running
        finally:
            for app in running.apps:
                app.process.terminate()
            for app in running.apps:
                app.process.wait(10)
            asyncio.run(stop(servers))
    finally:
        shutil.rmtree(base)
