"""
Repositories in which a first gate used to go wrong: each comes to a verdict, or says what to do.

Every one holds the same small app and one weakness; the candidate changes nothing but what the case
is about.  ``pytest -m slow tests/foreign``.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from whole_program import Program, gone_within, loadtest, read

from loadtest.errors import EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS, EXIT_WORLD
from loadtest.run.images import hosts_are_possible

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hosts_are_possible(), reason="machines are hosts of their own"),
]

APP = """
import os
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def content():
    return b"ok"


def app(environ, start_response):
    body = content()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


PORT = int(os.environ["PORT"])
make_server("127.0.0.1", PORT, app, Server, Handler).serve_forever()
"""
FLY = """
app = "tiny"
primary_region = "cdg"
[processes]
app = "python app.py"
[http_service]
internal_port = 8080
processes = ["app"]
"""
MIGRATE = """
import os
import psycopg

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute("create table thing (name text)")
    connection.execute("insert into thing values ('one')")
"""
READS = """
def content():
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return connection.execute("select NAME from thing").fetchone()[0].encode()
"""
VENDORED = 'mkdir -p vendor && echo "X = 1" > vendor/dep.py'
SHORT = ("--regions", "cdg", "--duration", "6", "--warmup", "1", "--looks", "1", "--rate", "10")
DECIDED = (EXIT_PASS, EXIT_INCONCLUSIVE)
ATTEMPTS = 3
"""A busy machine makes a run invalid, and says so."""


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *own, "-c", "protocol.file.allow=always", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@dataclass
class Repository:
    """A repository whose HEAD is the candidate and whose HEAD~1 is the base."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commit(self, message: str) -> None:
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    made = Repository(folder)
    made.write("app.py", APP)
    made.write("fly.toml", FLY)
    return made


@dataclass
class Ended:
    """A gate that has ended: what it said, and its run folder."""

    code: int
    said: str
    run: Path

    def check_verdict(self) -> None:
        """Both revisions answered every request, and no rule is broken."""
        assert self.code in DECIDED, self.said
        cells = read(self.run / "summary.json")["cells"]
        assert {cell["deployment"] for cell in cells} == {"base", "candidate"}
        assert all(cell["errors"] == 0 for cell in cells)
        assert not [r for r in read(self.run / "verdict.json")["rules"] if r["decision"] == "fail"]


Gate = Callable[..., Ended]


@pytest.fixture
def gate(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gate]:
    """Return what runs the gate on the repository, and look whether it leaves anything."""
    programs: list[Program] = []
    scratch = Path(tempfile.mkdtemp(prefix="lt"))  # short, as the names of sockets have to be
    scratch.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(scratch))

    def run(*flags: str) -> Ended:
        for attempt in range(ATTEMPTS):
            out = tmp_path / f"run-{attempt}"
            with loadtest(
                *("gate", "--base", "HEAD~1", "--out", str(out), *SHORT, *flags),
                cwd=repository.folder,
            ) as program:
                programs.append(program)
                while program.process.poll() is None:
                    program.look()
                    time.sleep(0.1)
                said = "".join(program.process.communicate())
            if program.process.returncode != EXIT_INVALID:
                break
        return Ended(program.process.returncode, said, out)

    yield run
    assert all(gone_within(program, 10.0) == [] for program in programs)
    assert not list(scratch.iterdir())
    scratch.rmdir()
    assert git(repository.folder, "worktree", "list").count("\n") == 1


def test_a_fixed_port_is_free_for_both(repository: Repository, gate: Gate) -> None:
    repository.write("app.py", APP.replace('int(os.environ["PORT"])', "8080"))
    repository.commit("base")
    repository.commit("candidate")
    gate().check_verdict()


def test_an_entry_point_that_is_a_shell_script_of_the_repository(
    repository: Repository, gate: Gate
) -> None:
    repository.write("start.sh", "#!/bin/sh\nexec python app.py\n")
    service = "[[services]]\ninternal_port = 8080\n[[services.ports]]\nport = 80\n"
    start = '[experimental]\nentrypoint = "sh"\ncmd = "start.sh"\n'
    repository.write("fly.toml", f'app = "tiny"\n{start}{service}handlers = ["http"]\n')
    repository.commit("base")
    repository.commit("candidate")
    gate().check_verdict()


def test_a_check_without_processes_is_not_the_workers(repository: Repository, gate: Gate) -> None:
    repository.write("worker.py", "import time\nwhile True:\n    time.sleep(60)\n")
    check = '[checks.up]\ntype = "http"\nport = 8080\npath = "/"\n'
    worker = FLY.replace("[http_service]", 'worker = "python worker.py"\n[http_service]')
    repository.write("fly.toml", worker + check)
    repository.commit("base")
    repository.commit("candidate")
    gate().check_verdict()


def test_a_column_that_the_candidate_renames_is_still_the_bases(
    repository: Repository, gate: Gate
) -> None:
    page = READS.replace("NAME", "name")
    text = APP.replace("import os\n", "import os\n\nimport psycopg\n")
    assert '\ndef content():\n    return b"ok"\n' in text
    text = text.replace('\ndef content():\n    return b"ok"\n', page)
    repository.write("app.py", text)
    repository.write("migrate.py", MIGRATE)
    release = '[deploy]\nrelease_command = "python migrate.py"\n[processes]'
    repository.write("fly.toml", FLY.replace("[processes]", release))
    repository.commit("base")
    repository.write("app.py", text.replace("select name", "select title"))
    more = '    connection.execute("alter table thing rename column name to title")\n'
    repository.write("migrate.py", MIGRATE + more)
    repository.commit("candidate")
    gate().check_verdict()


def test_what_a_submodule_has_is_there_in_both(
    repository: Repository, gate: Gate, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    git(tmp_path, "init", "-q", "-b", "main", str(library))
    (library / "part.py").write_text("X = 1\n")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "library")
    git(repository.folder, "submodule", "--quiet", "add", str(library), "lib")
    repository.write("app.py", "from lib.part import X\n" + APP)
    repository.commit("base")
    repository.commit("candidate")
    gate().check_verdict()


def test_what_git_ignores_is_missed_with_the_cure_and_the_cure_works(
    repository: Repository, gate: Gate
) -> None:
    repository.write(".gitignore", "vendor/\n")
    (repository.folder / "vendor").mkdir()
    repository.write("vendor/dep.py", "X = 1\n")
    repository.write("app.py", 'import sys\nsys.path.insert(0, "vendor")\nimport dep\n' + APP)
    repository.commit("base")
    repository.commit("candidate")
    missed = gate()
    assert missed.code == EXIT_WORLD, missed.said
    assert "deployment base: machine" in missed.said, "the one that failed is named"
    assert "No module named 'dep'" in missed.said
    assert "prepare each revision with --setup" in missed.said
    gate("--setup", VENDORED).check_verdict()


def test_an_environment_that_the_app_misses_is_told_and_can_be_given(
    repository: Repository, gate: Gate
) -> None:
    repository.write("app.py", 'import os\nKEY = os.environ["SHOP_KEY"]\n' + APP)
    repository.commit("base")
    repository.commit("candidate")
    missed = gate()
    assert missed.code == EXIT_WORLD, missed.said
    assert "SHOP_KEY is not in its environment: give it with --env" in missed.said
    given = gate("--env", "SHOP_KEY=a-value-of-ours")
    given.check_verdict()
    stored = [path for path in given.run.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"a-value-of-ours" in path.read_bytes()]
    assert "a-value-of-ours" not in given.said
