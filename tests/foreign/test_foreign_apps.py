"""
Apps that know nothing of loadtest, each as its users write it: the gate finds an N+1 and 20 ms.

Every app shows authors with the number of their books, in one query.  Of its two changes one asks
for the books of each of three authors, the other takes 20 ms more.  What registries give is fetched
by the tests: ``pytest -m slow tests/foreign``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import image_files as made
import pytest

from loadtest.errors import EXIT_FAIL, EXIT_INVALID
from loadtest.run.images import hosts_are_possible

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="machines are hosts of their own"),
]

APPS = Path(__file__).resolve().parent
DEBIAN = "docker.io/library/debian:bookworm-slim"
CHANGES = ("n_plus_one", "slow")
MORE_TRIPS = 3.0
ATTEMPTS = 3
REGIONS = ("cdg", "ord")


@dataclass(frozen=True)
class Shelf:
    """
    One app.

    Args:
        folder: Where it is, beside this file.
        round_trips: What a page of the base waits for on the way to its database.
        flags: What its users type behind ``loadtest gate --base main``.
        programs: What has to be on PATH for it.
        needs: A command in its folder that ends well where its packages are here.
        packages: Its requirements go into a ``.venv`` before.
        prepare: Makes further flags of its two revisions' folders, such as images.
    """

    folder: str
    round_trips: float
    flags: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    packages: bool = False
    prepare: Callable[[Path, Path], tuple[str, ...]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def scratch_images(base: Path, candidate: Path) -> tuple[str, ...]:
    """Build what the app's Dockerfile builds: one static program and nothing else."""
    flags = []
    for option, folder in (("--base-image", base), ("--image", candidate)):
        subprocess.run(
            ["go", "build", "-o", str(folder / "run-app"), "."],
            cwd=folder,
            check=True,
            env={**os.environ, "CGO_ENABLED": "0"},
        )
        layer = made.layer(made.entry("run-app", (folder / "run-app").read_bytes()))
        (folder / "run-app").unlink()
        image = made.write_layout(
            folder.parent / f"{folder.name}-image", [layer], {"Entrypoint": ["/run-app"]}
        )
        flags += [option, str(image)]
    return tuple(flags)


def debian_root(base: Path, _candidate: Path) -> tuple[str, ...]:
    """Let the engine know Debian's image: from its registry, else from Debian's packages."""
    if buildah("inspect", "--type", "image", DEBIAN) or buildah("pull", DEBIAN):
        return ()
    root = base.parent / "root.tar"
    if shutil.which("mmdebstrap"):
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(root)], check=True
        )
    elif shutil.which("debootstrap"):
        files = base.parent / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", str(files)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run(["tar", "-C", str(files), "-cf", str(root), "."], check=True)
        shutil.rmtree(files)
    else:
        pytest.skip("no registry has Debian's image, and neither mmdebstrap nor debootstrap is here")
    (base.parent / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
    assert buildah("bud", "--tag", DEBIAN, str(base.parent)), "the image of Debian"
    root.unlink()
    return ()


def buildah(*words: str) -> bool:
    """Run buildah; tell whether that went well."""
    done = subprocess.run(["buildah", *words], capture_output=True, check=False)
    return done.returncode == 0


SHELVES = {
    "Flask, psycopg2": Shelf("flask_psycopg2", 3, packages=True),
    "Django, psycopg 3": Shelf(
        "django_psycopg3",
        1,
        ("--env", "SECRET_KEY=for-this-run", "--programs", ".venv/bin"),
        packages=True,
    ),
    "FastAPI, asyncpg": Shelf("fastapi_asyncpg", 2, packages=True),
    "Express, node-postgres": Shelf("express_pg", 1, ("--setup", "npm ci"), ("node", "npm")),
    "Fastify, Postgres.js": Shelf("fastify_postgres", 1, ("--setup", "npm ci"), ("node", "npm")),
    "Go, pgx": Shelf(
        "go_pgx",
        1,
        (
            *("--setup", "go build -o run-app ."),
            *("--command", "./run-app", "--release-command", "./run-app migrate"),
        ),
        ("go",),
    ),
    "Rack, pg": Shelf(
        "rack", 1, programs=("ruby", "puma"), needs=("ruby", "-e", 'require "pg"')
    ),
    "Rails, Active Record": Shelf(
        "rails_pg",
        2,  # a connection is asked whether it lives before it is used
        (
            *("--command", "puma -C config/puma.rb"),
            *("--seed-command", "./bin/rails db:seed", "--env", "SECRET_KEY_BASE=for-this-run"),
        ),
        ("ruby", "puma"),
        needs=("ruby", "-e", 'require_relative "config/application"'),
    ),
    "static image FROM scratch": Shelf("go_pgx", 1, programs=("go",), prepare=scratch_images),
    "Dockerfile on Debian": Shelf(
        "debian_image", 3, programs=("buildah",), prepare=debian_root,
        env={"BUILDAH_ISOLATION": "chroot"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Return the virtual environment of an app's requirements, made once."""
    kept: dict[Path, Path] = {}

    def environment(requirements: Path) -> Path:
        if requirements not in kept:
            folder = tmp_path_factory.mktemp("venv") / ".venv"
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "-r", str(requirements)], check=True)
            kept[requirements] = folder
        return kept[requirements]

    return environment


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def clone_with(shelf: Shelf, change: str, folder: Path) -> Path:
    """Return a clone whose branch holds a change to the app on main."""
    origin, clone = folder / "origin", folder / "shelf"
    shutil.copytree(APPS / shelf.folder, origin, ignore=shutil.ignore_patterns("*.patch"))
    git(origin, "init", "--quiet", "-b", "main")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "shelf")
    git(folder, "clone", "--quiet", str(origin), str(clone))
    git(clone, "checkout", "--quiet", "-b", "change")
    git(clone, "apply", str(APPS / shelf.folder / f"{change}.patch"))
    git(clone, "commit", "--quiet", "-am", change)
    return clone


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", SHELVES)
def test_a_change_for_the_worse_is_found_at_the_first_try(
    tmp_path: Path, environments: Callable[[Path], Path], name: str, change: str
) -> None:
    shelf = SHELVES[name]
    if missing := [program for program in shelf.programs if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} is not here")
    if shelf.needs and subprocess.run(shelf.needs, cwd=APPS / shelf.folder, check=False).returncode:
        pytest.skip("its packages are not here")
    if shelf.prepare is not None and not hosts_are_possible():
        pytest.skip("images need machines that are hosts of their own")
    clone = clone_with(shelf, change, tmp_path)
    if shelf.packages:
        (clone / ".venv").symlink_to(environments(APPS / shelf.folder / "requirements.txt"))
    flags = shelf.flags
    if shelf.prepare is not None:
        with pytest.MonkeyPatch.context() as patch:
            for key, value in shelf.env.items():
                patch.setenv(key, value)
            flags += shelf.prepare(tmp_path / "origin", clone)
    before = git(clone, "status", "--short")

    for attempt in range(1, ATTEMPTS + 1):  # a busy machine makes a run invalid, not an app
        run = tmp_path / f"run-{attempt}"
        done = measure(clone, run, flags, shelf.env)
        if done.returncode != EXIT_INVALID:
            break

    assert done.returncode == EXIT_FAIL, done.stdout + done.stderr
    summary = json.loads((run / "summary.json").read_text())
    rules = json.loads((run / "verdict.json").read_text())["rules"]
    cells = {(c["deployment"], c["region"]): c for c in summary["cells"]}
    assert set(cells) == {(arm, region) for arm in ("base", "candidate") for region in REGIONS}
    for (arm, region), cell in cells.items():
        asked = shelf.round_trips + (
            MORE_TRIPS if (arm, change) == ("candidate", CHANGES[0]) else 0
        )
        assert cell["db_round_trips"] == pytest.approx(asked, abs=0.3), (arm, region)
        assert cell["errors"] == 0, (arm, region)
    broken = {(r["metric"], r["region"]) for r in rules if r["decision"] == "fail"}
    if change == CHANGES[0]:
        assert {("db_round_trips.mean", region) for region in REGIONS} <= broken, done.stdout
    else:
        # where something drifts, no region alone may tell, but all of them together do
        assert broken & {("ttfb.p50", REGIONS[0]), ("ttfb.p50", "")}, done.stdout
        slower = {r["region"]: r["observed"] for r in rules if r["metric"] == "ttfb.p50"}
        assert all(15 < slower[region] < 30 for region in REGIONS), slower
    print(f"\n| {name} | {change}, run {attempt} |", *(row(cells, region) for region in REGIONS))
    untouched = git(clone, "status", "--short")
    assert untouched == before or "--setup" in shelf.flags, "nothing is left in the repository"
    assert git(clone, "worktree", "list").count("\n") == 1


def measure(
    clone: Path, run: Path, flags: tuple[str, ...], env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the gate in a clone."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "loadtest", "gate", "--base", "origin/main"),
            *("--regions", ",".join(REGIONS), "--duration", "10", "--looks", "4"),
            *("--out", str(run), *flags),
        ],
        cwd=clone,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def row(cells: Mapping[tuple[str, str], dict[str, object]], region: str) -> str:
    """Return both arms of a region as cells of a table."""
    told = []
    for arm in ("base", "candidate"):
        cell = cells[arm, region]
        p50 = cell["ttfb_ms"]["p50"]  # type: ignore[index]
        told.append(f"{p50:.1f} ms, {cell['db_round_trips']:.2f}")
    return f"{' -> '.join(told)} |"
