"""Processes that a template makes: what starting the command would have made."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loadtest.world.guard.reaper import become_subreaper, descendants
from loadtest.world.hosts.layer import ask_obstacle
from loadtest.world.machines import templates
from loadtest.world.machines.environment import base_environment
from loadtest.world.machines.template import ROOM_BYTES
from loadtest.world.machines.templates import ForkedProcess, Templates

OBSTACLE = ask_obstacle()
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are made on Linux"),
]

TELL = """
import json, os, socket, sys
print(json.dumps({
    "name": __name__, "arguments": sys.argv[1:], "file": os.path.basename(sys.argv[0]),
    "imported": "pretended_import" in sys.modules, "path": sys.path[0], "folder": os.getcwd(),
    "session": os.getsid(0) == os.getpid(), "parent": os.getppid(), "in": os.read(0, 1).decode(),
    "mine": os.environ.get("MINE"), "room": os.environ.get("LOADTEST_TEMPLATE_ROOM"),
}), flush=True)
if "fail" in sys.argv:
    sys.exit(7)
if "stay" in sys.argv:
    socket.create_server(("127.0.0.1", 0)).accept()
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a program that tells what it is, and one that its template imports."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "teller.py").write_text(TELL)
    (folder / "pretended_import.py").write_text("")
    monkeypatch.setattr(templates, "FORKED", {"teller": ("pretended_import",)})
    monkeypatch.setenv("PYTHONPATH", str(folder))
    become_subreaper()
    return folder


def environment(base: Path, folder: Path, **more: str) -> dict[str, str]:
    package = str(Path(templates.__file__).parents[3])
    own = base_environment(base, os.environ)
    return {**own, "PYTHONPATH": os.pathsep.join((package, str(folder))), **more}


def shown(pid: int, what: str) -> list[str]:
    """Return what the kernel shows of a process: its arguments or its environment."""
    return [
        os.fsdecode(word) for word in Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0") if word
    ]


@asynccontextmanager
async def opened(base: Path, env: Mapping[str, str]) -> AsyncIterator[Templates]:
    (base / "tmp").mkdir(exist_ok=True)
    made = Templates(base, env)
    try:
        yield made
    finally:
        await made.stop()


class Stage:
    """Templates beside a program that tells what it is."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base = base
        self.folder = folder
        self.env = environment(base, folder)
        self.log = base / "log"

    async def spawn(
        self, made: Templates, *arguments: str, cwd: Path | None = None, **env: str
    ) -> ForkedProcess | None:
        words = [sys.executable, "-m", "teller", *arguments]
        with self.log.open("ab") as log:
            return await made.spawn(
                words, cwd or self.base, {**self.env, **env}, None, log.fileno()
            )

    async def first_line(self) -> dict[str, object]:
        async with asyncio.timeout(10):
            while not self.log.exists() or b"\n" not in self.log.read_bytes():
                await asyncio.sleep(0.005)
        line: dict[str, object] = json.loads(self.log.read_text().splitlines()[0])
        return line


@pytest.fixture
def stage(tmp_path: Path, told: Path) -> Stage:
    return Stage(tmp_path, told)


def test_a_fork_is_what_a_start_makes(stage: Stage) -> None:
    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            process = await stage.spawn(made, "stay", MINE="own")
            assert process is not None
            assert await stage.first_line() == {
                "name": "__main__",
                "arguments": ["stay"],
                "file": "teller.py",
                "imported": True,
                "path": str(stage.base),
                "folder": str(stage.base),
                "session": True,
                "parent": os.getpid(),
                "in": "",
                "mine": "own",
                "room": None,
            }
            words = shown(process.pid, "cmdline")
            assert words[1:] == ["-m", "teller", "stay"]
            assert dict(entry.split("=", 1) for entry in shown(process.pid, "environ")) == {
                **stage.env,
                "MINE": "own",
            }
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == -signal.SIGTERM
            with pytest.raises(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    asyncio.run(use())


def test_a_program_on_gevent_is_forked_with_a_loop_of_its_own(stage: Stage) -> None:
    patch = "import gevent, gevent.monkey\ngevent.monkey.patch_all()\ngevent.get_hub()\n"
    (stage.folder / "pretended_import.py").write_text(patch)
    wait = "import gevent\ngevent.spawn(gevent.sleep, 0.001).join()\n"
    (stage.folder / "teller.py").write_text(f"{wait}{TELL}")

    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            for _ in range(2):
                process = await stage.spawn(made, "fail")
                assert process is not None
                assert await asyncio.wait_for(process.wait(), 10) == 7
            assert (await stage.first_line())["imported"] is True

    asyncio.run(use())


def test_an_exit_code_comes_home(stage: Stage) -> None:
    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            process = await stage.spawn(made, "fail")
            assert process is not None
            assert await process.wait() == 7

    asyncio.run(use())


@pytest.mark.parametrize(
    ("env", "package"),
    [
        ({"PYTHONHASHSEED": "1"}, False),
        ({"LD_PRELOAD": "libc.so.6"}, False),
        ({"LC_ALL": "C"}, False),
        ({"LONG": "x" * ROOM_BYTES}, False),
        ({}, True),
    ],
    ids=["python", "loader", "locale", "long", "package"],
)
def test_what_a_start_would_make_otherwise_is_started(
    stage: Stage, env: dict[str, str], package: bool
) -> None:
    folder = stage.base / "app"
    folder.mkdir()
    if package:
        (folder / "loadtest").mkdir()

    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            assert await stage.spawn(made, cwd=folder, **env) is None

    asyncio.run(use())


def test_other_programs_and_interpreters_are_started(stage: Stage) -> None:
    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            for words in (
                [sys.executable, "-m", "http.server"],
                [sys.executable, "-u", "teller"],
                ["/usr/bin/env", "-m", "teller"],
                [sys.executable],
            ):
                assert await made.spawn(words, stage.base, stage.env, None, 2) is None

    asyncio.run(use())


def test_a_template_that_was_killed_ends_nobody_and_makes_nobody(stage: Stage) -> None:
    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            process = await stage.spawn(made, "stay")
            assert process is not None
            await stage.first_line()
            children = (pid for pid in descendants(os.getpid()) if pid != process.pid)
            (template,) = (
                pid
                for pid in children
                if "loadtest.world.machines.template" in shown(pid, "cmdline")
            )
            os.kill(template, signal.SIGKILL)
            assert await stage.spawn(made, "stay") is None
            assert process.pid in descendants(os.getpid())
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL

    asyncio.run(use())


def test_a_template_that_cannot_import_leaves_the_start_to_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "FORKED", {"teller": ("no_such_module",)})

    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            assert await stage.spawn(made) is None

    asyncio.run(use())


def test_nothing_is_forked_where_nobody_could_wait_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    templates._can_wait.cache_clear()

    async def use() -> None:
        async with opened(stage.base, stage.env) as made:
            assert await stage.spawn(made) is None

    asyncio.run(use())
    monkeypatch.undo()
    templates._can_wait.cache_clear()


ORDINARY = """
import asyncio, os, pathlib, sys, tempfile
from loadtest.world.guard.reaper import become_subreaper
from loadtest.world.hosts.host import MachineHost
from loadtest.world.hosts.layer import become_world
from loadtest.world.machines.template import Birth
from loadtest.world.machines.templates import Template

async def main(base):
    host = MachineHost.make(base, "trial", "fdaa:0:1:a7b:1::2", "172.19.0.2")
    (base / "teller.py").write_text(
        "import os; rights = [l for l in open('/proc/self/status') if l.startswith('CapEff')]; "
        "print(os.uname().nodename, *rights)"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"]}
    template = await Template.start(sys.executable, ["json"], base, env, enters_places=True)
    files = {str(target): str(source) for target, source in host.files.items()}
    birth = Birth((sys.executable, "-m", "teller"), str(base), env, host.name, files)
    try:
        forked = await template.fork(birth, [1, host.descriptor])
        print(await forked.wait(), flush=True)
    finally:
        await template.stop()
        host.close()

become_world()
become_subreaper()
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(pathlib.Path(folder)))
"""


@pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}")
def test_a_fork_of_an_ordinary_user_s_template_enters_its_host_and_has_no_rights() -> None:
    root = os.geteuid() == 0
    python = shutil.which("python3", path="/usr/bin:/bin") if root else sys.executable
    if python is None:
        pytest.skip("no Python that every user may run")
    done = subprocess.run(
        [python, "-c", ORDINARY],
        user=65_534 if root else None,
        group=65_534 if root else None,
        extra_groups=[] if root else None,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "PermissionError" in done.stderr or "No module named 'loadtest'" in done.stderr:
        pytest.skip("this checkout is not readable for everybody")
    assert done.stdout.split() == ["trial", "CapEff:", "0" * 16, "0"], done.stdout + done.stderr
