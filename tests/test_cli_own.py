"""The commands about machines of one's own refuse what cannot be before anything is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from loadtest.cli import cli
from loadtest.errors import PlanError
from loadtest.run.own_keys import find_keys
from loadtest.terminal import Terminal


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("worker", "--region", "syx", "--coordinator", "h:1"), "the nearest known are syd"),
        (("worker", "--region", "syd", "--coordinator", "h:1"), "no keys: set LOADTEST_CURVE_"),
        (("coordinator", "--driver-silent", "0"), "--driver-silent: 0 s; allowed are 1s to 1h"),
        (("coordinator", "--driver-silent", "x"), "--driver-silent: 'x' is no time"),
        (("coordinator", "--tls-cert", "x.pem"), "--tls-cert and --tls-key go together"),
        (("run", "http://h", "--coordinator", "https://c", "--world", "fly"), "leave out --world"),
        (("run", "http://h", "--coordinator", "http://c.example"), "the token unencrypted"),
        (("run", "http://h", "--keys", "x"), "--keys goes with --coordinator URL"),
    ],
)
def test_what_cannot_be_is_one_sentence(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        cli.main(list(words), standalone_mode=False, obj=Terminal())


def test_a_process_of_the_engine_gets_its_keys_by_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    became: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *call: became.append(call))
    cli.main(["keys"], standalone_mode=False, obj=Terminal())
    cli.main(["coordinator"], standalone_mode=False, obj=Terminal())
    words = ["worker", "--region", "SYD", "--coordinator", "h:5557", "--name", "vm7"]
    cli.main(words, standalone_mode=False, obj=Terminal())
    for who, (_, command, environment) in zip(("coordinator", "worker"), became, strict=True):
        keys = find_keys(who, Path(f"loadtest-keys/{who}.env"), {})
        assert keys.items() <= environment.items()
        assert not [word for word in command for value in keys.values() if value in word]
    (_, _, coordinator), (_, _, worker) = became
    assert coordinator["LOADTEST_BIND"] == "127.0.0.1"
    assert (worker["FLY_REGION"], worker["COORDINATOR"]) == ("syd", "h:5557")
