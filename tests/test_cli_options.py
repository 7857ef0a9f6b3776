"""Environment for apps, and a command line without what may be secret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pytest

from loadtest.cli_options import agreement, app_secrets_of, without_secrets
from loadtest.errors import PlanError
from loadtest.terminal import Terminal


def options(
    env: tuple[str, ...] = (), files: tuple[str, ...] = (), names: tuple[str, ...] = ()
) -> Any:
    return {"app_env": env, "app_env_files": files, "app_secret_names": names}


def test_later_ones_win_and_values_keep_their_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("\ufeff# note\nexport A=1\n\nB = \"two words\"\nC='x=y'\n", encoding="utf-8")
    monkeypatch.setenv("TOKEN", "t")
    found = app_secrets_of(options(("A=3=3", "D="), (str(file),), ("TOKEN",)))
    assert found == {"A": "3=3", "B": "two words", "C": "x=y", "D": "", "TOKEN": "t"}


@pytest.mark.parametrize("text", ["novalue", "=x", "1A=hidden", "A B=hidden"])
def test_what_is_no_pair_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(PlanError) as told:
        app_secrets_of(options((text,)))
    assert "hidden" not in str(told.value)


def test_a_file_or_a_variable_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--env-file"):
        app_secrets_of(options(files=(str(tmp_path / "none"),)))
    (tmp_path / "bad").write_bytes(b"A=\xff")
    with pytest.raises(PlanError, match="not UTF-8"):
        app_secrets_of(options(files=(str(tmp_path / "bad"),)))
    with pytest.raises(PlanError, match="'NO_SUCH_VARIABLE' is not set"):
        app_secrets_of(options(names=("NO_SUCH_VARIABLE",)))


def test_a_stored_command_line_has_no_secret() -> None:
    words = ["gate", "--env", "KEY=s3cret", "--env=B=s3cret", "--header", "Authorization: s3cret"]
    words.append("--candidate=https://me:s3cret@a.example/@you")
    assert without_secrets([*words, "--base", "main"]) == [
        *("gate", "--env", "KEY=...", "--env=B=...", "--header", "Authorization:..."),
        "--candidate=https://...@you",
        *("--base", "main"),
    ]


class TestAgreement:
    """A run that costs money is agreed to by a person, or beforehand."""

    def test_agreed_beforehand_nobody_is_asked(self) -> None:
        agreement(Terminal(quiet=True), yes=True)("14 machines")

    def test_where_nobody_can_be_asked_the_run_is_refused(self) -> None:
        with pytest.raises(PlanError, match=r"--yes: the run would order 14 machines; there is no"):
            agreement(Terminal(quiet=True), yes=False)("14 machines")

    @pytest.mark.parametrize("agreed", [True, False])
    def test_on_a_terminal_the_person_decides(
        self, agreed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for stream in (sys.stdin, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        said: list[bool] = []

        def confirm(_question: str, *, abort: bool, err: bool) -> None:
            said.append(err)
            if abort and not agreed:
                raise click.Abort

        monkeypatch.setattr(click, "confirm", confirm)
        ask = agreement(Terminal(quiet=True), yes=False)
        if agreed:
            ask("14 machines")
        else:
            with pytest.raises(click.Abort):
                ask("14 machines")
        assert said == [True]
