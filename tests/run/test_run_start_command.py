"""Which command starts an app that runs in a folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import parse_app_config
from loadtest.run.start_command import dockerfile_command, search_path, with_start_command

PLAIN = 'app = "a"\n[http_service]\ninternal_port = 8080\n'


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('FROM x\nCMD ["node", "server.js"]', ["node", "server.js"]),
        ('FROM x\nENTRYPOINT ["/app"]\nCMD ["--port", "80"]', ["/app", "--port", "80"]),
        ("FROM x\nCMD exec gunicorn app:app", ["/bin/sh", "-c", "exec gunicorn app:app"]),
        ('from x\ncmd [ "a b" ]', ["a b"]),
        ('FROM x\nCMD ["old"]\nFROM y\nCMD ["new"]', ["new"]),
        ('FROM x\nCMD ["of", "a", "stage"]\nFROM y', []),
        ('FROM x\nCMD ["a", \\\n  # why\n  "b"]', ["a", "b"]),
        ('FROM x\nCMD ["a"]\nENTRYPOINT ["e"]', ["e"]),
        ("FROM x\nCMD []", []),
        ("", []),
    ],
)
def test_a_dockerfile_says_what_its_last_stage_starts(text: str, command: list[str]) -> None:
    assert shlex.split(dockerfile_command(text)) == command


STAGES = """
ARG NODE=22
FROM --platform=$BUILDPLATFORM node:${NODE} AS base
CMD ["node", "server.js"]
FROM base AS Build
RUN npm run build
FROM build as dev
CMD ["npm", "run", "dev"]
FROM base AS worker
ENTRYPOINT ["tini", "--"]
CMD ["node", "worker.js"]
FROM base
COPY --from=build /app /app
"""


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("", "node server.js"),
        ("build", "node server.js"),
        ("dev", "npm run dev"),
        ("Worker", "tini -- node worker.js"),
    ],
)
def test_a_stage_starts_what_the_stage_starts_that_it_is_made_from(
    tmp_path: Path, target: str, command: str
) -> None:
    assert dockerfile_command(STAGES, target=target) == command
    (tmp_path / "Dockerfile").write_text(STAGES)
    config = parse_app_config(f'{PLAIN}[build]\nbuild-target = "{target}"\n', Path("fly.toml"))
    assert with_start_command(config, "", tmp_path, "d").processes == {"app": command}


def test_a_given_command_comes_before_the_files_and_the_dockerfiles(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM x\nCMD ["docker"]')
    plain = parse_app_config(PLAIN, Path("fly.toml"))
    own = parse_app_config(PLAIN + '[processes]\napp = "own"\n', Path("fly.toml"))
    assert with_start_command(own, "given", tmp_path, "d").processes == {"app": "given"}
    assert with_start_command(own, "", tmp_path, "d").processes == {"app": "own"}
    assert with_start_command(plain, "", tmp_path, "d").processes == {"app": "docker"}


def test_no_command_at_all_names_what_was_looked_for_and_the_cure(tmp_path: Path) -> None:
    plain = parse_app_config(PLAIN, Path("fly.toml"))
    with pytest.raises(
        PlanError, match=r"d: no start command: .* no Dockerfile and no Procfile .*--command"
    ):
        with_start_command(plain, "", tmp_path, "d")


def test_without_a_command_the_flags_are_named_that_its_files_suggest(tmp_path: Path) -> None:
    plain = parse_app_config(PLAIN, Path("fly.toml"))
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(
        PlanError, match=r"its package\.json suggests: --setup 'npm ci' --command 'npm start'$"
    ):
        with_start_command(plain, "", tmp_path, "d")


def test_the_dockerfile_that_the_file_names_is_read_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM x\nCMD ["other"]')
    (tmp_path / "web.Dockerfile").write_text('FROM x\nENTRYPOINT ["e"]\nCMD ["web"]')
    text = PLAIN + '[build]\ndockerfile = "web.Dockerfile"\n'
    named = parse_app_config(text, tmp_path / "fly.toml")
    assert with_start_command(named, "", tmp_path, "d").processes == {"app": "e web"}
    (tmp_path / "web.Dockerfile").unlink()
    with pytest.raises(
        PlanError, match=r"no start command: .* there is no web\.Dockerfile and no Procfile "
    ):
        with_start_command(named, "", tmp_path, "d")


def test_an_entry_point_or_exec_of_the_file_takes_the_place_of_the_dockerfiles(
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM x\nENTRYPOINT ["e"]\nCMD ["c"]')
    entry = parse_app_config(PLAIN + '[experimental]\nentrypoint = "mine"\n', Path("fly.toml"))
    exec_ = parse_app_config(PLAIN + '[experimental]\nexec = ["all"]\n', Path("fly.toml"))

    def runs(command: str, *, of: AppConfig = entry, folder: Path = tmp_path) -> tuple[str, ...]:
        config = with_start_command(of, command, folder, "d").machine_config("app", image="i")
        return (*config.entrypoint, *config.cmd)

    assert runs("") == ("mine", "c")
    assert runs("given") == runs("given", of=exec_) == ("given",)
    assert runs("", of=exec_) == ("all",)
    assert runs("", folder=tmp_path / "none") == ("mine",)


def test_one_command_for_several_groups_is_refused(tmp_path: Path) -> None:
    two = parse_app_config(PLAIN + '[processes]\nweb = "a"\nwork = "b"\n', Path("fly.toml"))
    with pytest.raises(PlanError, match="several process groups"):
        with_start_command(two, "c", tmp_path, "d")


def test_an_app_without_an_environment_of_its_own_uses_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own .venv comes first, and a folder that somebody names before both."""
    job, app = tmp_path / "job", tmp_path / "app"
    job.mkdir()
    monkeypatch.setenv("LOADTEST_PROGRAMS", str(job))

    def first(programs: str | None = None) -> str:
        return search_path(programs, (app,))["PATH"].split(os.pathsep)[0]

    assert first() == str(job)
    (app / ".venv" / "bin").mkdir(parents=True)
    assert first() == str(app / ".venv" / "bin")
    assert first(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("web: gunicorn --bind :$PORT app:app\n", "gunicorn --bind :$PORT app:app"),
        ("worker: x\r\nweb : puma -p 80  \r\n", "puma -p 80"),
    ],
)
def test_a_procfile_starts_what_neither_file_nor_dockerfile_does(
    tmp_path: Path, text: str, line: str
) -> None:
    config = parse_app_config(PLAIN, tmp_path / "fly.toml")
    (tmp_path / "Procfile").write_text(text, newline="")
    found = with_start_command(config, "", tmp_path, "shop")
    assert found.processes == {"app": shlex.join(["/bin/sh", "-c", line])}
    (tmp_path / "Dockerfile").write_text('FROM x\nCMD ["node"]')
    assert with_start_command(config, "", tmp_path, "shop").processes == {"app": "node"}


def test_a_procfile_without_web_is_none(tmp_path: Path) -> None:
    config = parse_app_config(PLAIN, tmp_path / "fly.toml")
    (tmp_path / "Procfile").write_text("worker: x\nwebsite: y\nweb:\n")
    with pytest.raises(PlanError, match="no Procfile with a line for web"):
        with_start_command(config, "", tmp_path, "shop")
