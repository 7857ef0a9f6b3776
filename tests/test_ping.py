"""The round trip between two machines, by their own tool."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadtest import ping

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*words: str, bind: str = "127.0.0.1") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest.ping", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOADTEST_BIND": bind},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.contract
def test_peers_are_answered_and_then_it_ends() -> None:
    port = str(free_port())
    asking = [command("ask", "127.0.0.1", port, "5") for _ in range(2)]  # before anybody listens
    answering = command("answer", port, "2", "20")
    for each in asking:
        out, err = each.communicate(timeout=20)
        assert (each.returncode, err) == (0, "")
        assert len(json.loads(out)) == 5
        assert all(0 < ns < 10**9 for ns in json.loads(out))
    assert answering.communicate(timeout=20) == ("", "")
    assert answering.returncode == 0


@pytest.mark.contract
def test_where_no_peer_comes_it_ends_with_its_time() -> None:
    answering = command("answer", str(free_port()), "1", "0.2", bind="::")
    answering.communicate(timeout=20)
    assert answering.returncode == 1


@pytest.mark.contract
def test_an_end_that_closes_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "_PATIENCE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_at_once() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=close_at_once, daemon=True)
        thread.start()
        with pytest.raises(ConnectionError):
            ping.ask("127.0.0.1", server.getsockname()[1], 3)
        thread.join()


@pytest.mark.parametrize("words", [[], ["ask"], ["answer", "x", "1", "1"], ["ask", "a", "b", "c"]])
def test_other_words_show_how_it_is_used(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ping.main(words) == 2
    assert "python -m loadtest.ping ask HOST PORT COUNT" in capsys.readouterr().err
