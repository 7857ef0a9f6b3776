"""
Round trips that the links count are those that PostgreSQL's own log tells of.

Four drivers serve the same page from two regions in one world, each from a database of its own.
PostgreSQL logs every statement with its database: what it tells of one, divided by the requests of
its deployment, is what the report says of the deployment's cells.  A statement that a driver keeps
under a name was prepared in a round trip of its own, which only a log of durations tells.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from whole_program import finished, loadtest

from loadtest.analysis.wire import round_trips_on_the_wire
from loadtest.records.world_facts import WorldFacts, read_world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into the world's folder"),
]

APPS = Path(__file__).resolve().parent
DRIVERS = {"psycopg": 1.0, "asyncpg": 2.0, "node-postgres": 1.0, "pgx": 1.0}
"""Round trips of one page: asyncpg resets a connection that it gives back."""

PLAN = """
schema = 1
name = "wire"
regions = ["cdg", "ord"]
primary_region = "cdg"
scenario = "scenarios/pages.py"
paths = ["/"]
base = "0"
thresholds = []

[load]
rate = 10.0
duration_s = 20.0
warmup_s = 1.0
block_s = 1.0

[network]
layer = "hosts"

[gate]
max_looks = 1
"""
STATEMENT = re.compile(
    r"^db=(?P<database>\S+) LOG:  "
    r"(?:statement: |execute [^:]+: |duration: \S+ ms  parse (?!<unnamed>))",
    re.MULTILINE,
)
CONNECTION = re.compile(r"^db=(?P<database>\S+) LOG:  connection authorized", re.MULTILINE)
OF_A_CONNECTION = range(3, 10)
"""Round trips that a new one may take: TCP, whether TLS is spoken, SCRAM, what a driver asks first."""


def deployment(name: str, folder: Path, **keys: str) -> str:
    """Return an arm of the plan, with a database of its own."""
    lines = [f'name = "{name}"', f'fly_toml = "{folder}/fly.toml"', f'folder = "{folder}"']
    lines += [f'database = "{name.replace("-", "_")}"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n[[deployments]]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Write a plan of the four apps, with what their registries give."""
    if missing := [word for word in ("node", "npm", "go") if shutil.which(word) is None]:
        pytest.skip(f"{', '.join(missing)} is not here")
    folders = {
        name: Path(shutil.copytree(APPS / folder, tmp_path / folder))
        for name, folder in zip(
            DRIVERS, ("notes", "fastapi_asyncpg", "express_pg", "go_pgx"), strict=True
        )
    }
    venv = folders["asyncpg"] / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r"]
    subprocess.run([*pip, str(folders["asyncpg"] / "requirements.txt")], check=True)
    subprocess.run(["npm", "ci", "--silent"], cwd=folders["node-postgres"], check=True)
    subprocess.run(["go", "build", "-o", "run-app", "."], cwd=folders["pgx"], check=True)
    more = {"pgx": {"command": "./run-app", "release_command": "./run-app migrate"}}
    path = tmp_path / "plan.toml"
    arms = (deployment(name, folders[name], **more.get(name, {})) for name in DRIVERS)
    path.write_text(PLAN + "".join(arms))
    return path


def log_every_statement(dsn: str) -> None:
    """Let the server log what it is sent, with the database that it is for."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_line_prefix = 'db=%d '")
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        connection.execute("ALTER SYSTEM SET log_connections = 'on'")
        connection.execute("SELECT pg_reload_conf()")


def world_of(path: Path) -> Path:
    """Return the world's folder that a path lies in."""
    return next(f for f in (path, *path.parents) if f.name.startswith("loadtest-world-"))


def primarys_log(folder: Path) -> Path:
    """Return the log of the server that is no replica."""
    found = [
        path
        for path in folder.rglob("log")
        if path.is_file() and not (path.parent / "data" / "standby.signal").exists()
        if (path.parent / "data" / "PG_VERSION").exists()
    ]
    assert len(found) == 1, found
    return found[0]


def told_by(log: bytes) -> tuple[Counter[str], Counter[str]]:
    """Return how many statements and connections were logged, each by database."""
    text = log.decode(errors="replace")
    statements = Counter(match["database"] for match in STATEMENT.finditer(text))
    return statements, Counter(match["database"] for match in CONNECTION.finditer(text))


def test_the_links_count_what_postgresqls_log_tells(
    tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with loadtest("world", "up", plan.name, cwd=tmp_path) as program:
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Ctrl-C")):
            lines.append(program.process.stdout.readline().strip())  # type: ignore[union-attr]
            assert program.process.poll() is None, program.process.communicate()
        program.wait_for(lambda: bool(program.folders), "the world's processes")
        folder = world_of(next(iter(program.folders)))
        dsn = next(line.split()[1] for line in lines if "postgres://" in line and "cdg" in line)
        log_every_statement(dsn)
        token, *command = next(line for line in lines if line.startswith("LOADTEST_WORLD")).split()
        monkeypatch.setenv(*token.split("=", 1))

        def run(out: str) -> None:
            done = finished(*command[1:], "--out", out, cwd=tmp_path)
            assert done.returncode in (0, 12), done.stderr  # invalid on a busy machine: no matter

        run("first")  # pools are full from here on
        log = primarys_log(folder)
        offset = log.stat().st_size
        run("second")
        with log.open("rb") as file:
            file.seek(offset)
            statements, connections = told_by(file.read())

    world = read_world(json.loads((tmp_path / "second" / "world.json").read_text()))
    counted, asked = round_trips_on_the_wire(world), requests_of(world)
    apps = world.apps or {}
    for name, expected in DRIVERS.items():
        database = name.replace("-", "_")
        cells = {region: counted[name, region] for region in ("cdg", "ord")}
        requests = sum(asked[apps[name], region] for region in cells)
        wire = round(sum(trips * asked[apps[name], region] for region, trips in cells.items()))
        with capsys.disabled():
            told = f"{requests} | {wire} | {statements[database]} | {connections[database]}"
            print(f"\n| {name} | {told} | {cells}", end=" |")
        if connections[database]:
            assert (wire - statements[database]) // connections[database] in OF_A_CONNECTION, name
        else:
            assert wire == statements[database], name
        assert statements[database] / requests == pytest.approx(expected, abs=0.02), name


def requests_of(world: WorldFacts) -> Mapping[tuple[str, str], int]:
    """Return the requests that the edges took while the log was read, by app and region."""
    assert world.counters is not None
    (segment,) = world.counters.segments
    found: Counter[tuple[str, str]] = Counter()
    for sign, moment in ((1, segment.end), (-1, segment.start)):
        for edge in moment.edges:
            found[edge.app, edge.region] += sign * edge.requests
    return found
