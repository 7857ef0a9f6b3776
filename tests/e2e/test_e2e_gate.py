"""The gate on an app that is not ours: base and candidate as arms of one run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from whole_program import finished, read

from loadtest.errors import EXIT_FAIL, EXIT_PLAN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

FOREIGN = Path(__file__).resolve().parent.parent / "foreign" / "notes"
SHORT = ("--regions", "cdg,ord", "--duration", "6", "--warmup", "2", "--looks", "1", "--out", "run")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a repository of the test's own, apart from the person's settings."""
    own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository that holds the app in a folder of its own."""
    folder = tmp_path / "repository"
    shutil.copytree(FOREIGN, folder / "web", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "notes")
    return folder


def test_one_query_more_on_the_page_fails_whatever_the_clock_says(repository: Path) -> None:
    """
    The candidate counts its notes in a query of its own: the gate names the query count.

    It renames a column too, which the base never sees: each revision has a database to itself.
    """
    page = repository / "web" / "notes.py"
    text = page.read_text()
    for old, new in (
        ("(id int", "(number int"),
        ("SELECT id,", "SELECT number,"),
        ("BY id", "BY number"),
    ):
        assert old in text
        text = text.replace(old, new)
    query = '        rows = await (await connection.execute("SELECT number'
    assert query in text
    page.write_text(
        text.replace(
            query, f'        await connection.execute("SELECT count(*) FROM notes")\n{query}'
        )
    )

    done = finished("gate", "--base", "HEAD", "--app", "web/fly.toml", *SHORT, cwd=repository)

    assert done.returncode == EXIT_FAIL, done.stdout + done.stderr
    rules = read(repository / "run" / "verdict.json")["rules"]
    counted = [r for r in rules if r["metric"] == "db_round_trips.mean"]
    assert {r["decision"] for r in counted} == {"fail"}
    assert all(abs(r["observed"] - 1) < 0.1 for r in counted)
    assert all(abs(r["base"] - 1) < 0.1 for r in counted)
    more = "candidate 2 round trips, base 1 round trip: 1 round trip (100.0 %) more"
    assert more in done.stdout, done.stdout + done.stderr
    assert git(repository, "worktree", "list").count("\n") == 1


def test_the_same_code_passes_its_query_count(repository: Path) -> None:
    """
    Nothing was changed: no rule fails, and the count of queries is decided as equal.

    A first look on so few blocks decides no percentile, so both arms are started anew for a second.
    """
    arguments = ("--base", "HEAD", "--app", "web/fly.toml", "--rate", "15")
    done = finished("gate", *arguments, *SHORT, "--looks", "2", cwd=repository)

    assert (repository / "run" / "verdict.json").exists(), done.stdout + done.stderr
    rules = read(repository / "run" / "verdict.json")["rules"]
    assert [r for r in rules if r["decision"] == "fail"] == [], done.stdout
    assert {r["decision"] for r in rules if r["metric"] == "db_round_trips.mean"} == {"pass"}
    holds = "It holds for 2 starts of each arm's processes on one machine."
    assert holds in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--base", "no-such-branch", "--app", "web/fly.toml"), "no-such-branch"),
        (("--base", "HEAD", "--app", "nowhere.toml"), "'nowhere.toml' is no file"),
        (("--base", "HEAD"), "there is no fly.toml"),
        (("--base", "http://127.0.0.1:1", "--candidate", "main"), "'main' is no URL"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_starts(
    repository: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 13 and a sentence."""
    done = finished("gate", *arguments, cwd=repository)

    assert done.returncode == EXIT_PLAN, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
