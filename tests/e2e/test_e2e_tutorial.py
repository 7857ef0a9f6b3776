"""The transcripts of the tutorial: its commands are run, and what they print is held against it."""

from __future__ import annotations

import http.server
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_program import finished

from loadtest.errors import EXIT_INVALID

pytest.importorskip("fastapi", reason="of requirements/dev.lock: the app of the third transcript")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="an app on machines of its own"),
    pytest.mark.flaky(reruns=2, only_rerun="BusyMachineError"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
PLACE = "http://localhost:3000"
INTERVAL = re.compile(r"\[N(?: ms)?, (?:N ms|without bound)\]")
"""A tail of a hundred requests may have no upper bound."""
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class BusyMachineError(Exception):
    """A run itself said that this machine was too busy to be measured on."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def shape(line: str) -> str:
    """Return a line without what differs from run to run: numbers, run folders, blanks."""
    words = re.sub(r"\S*reports/\S+", "REPORT", line)
    words = " ".join(re.sub(r"\d+(?:[.,]\d+)*", "N", words).split())
    return INTERVAL.sub("[N, N ms]", words)


def transcripts() -> dict[str, list[tuple[str, str]]]:
    """Return the blocks of each chapter: language and text."""
    chapters = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title: BLOCK.findall(text)
        for title, text in zip(chapters[1::2], chapters[2::2], strict=True)
    }


def test_every_command_of_the_page_is_run() -> None:
    page = PAGE.read_text(encoding="utf-8")
    run = [text for blocks in transcripts().values() for kind, text in blocks if kind == "console"]
    assert page.count("\n$ loadtest ") == sum(text.count("$ loadtest ") for text in run) == 5
    assert "@" not in re.sub(BLOCK, "", page)


@pytest.mark.parametrize("chapter", list(transcripts()))
def test_what_a_transcript_shows_is_printed(chapter: str, url: str, tmp_path: Path) -> None:
    names = {"A locustfile": "locustfile.py", "An app": "main.py"}
    for kind, text in transcripts()[chapter]:
        if kind == "python":
            (tmp_path / names[chapter]).write_text(text, encoding="utf-8")
            continue
        first, *expected = text.strip().splitlines()
        words = shlex.split(first.removeprefix("$ loadtest ").replace(PLACE, url))
        done = finished(*words, cwd=tmp_path, timeout_s=300.0)
        assert "Traceback" not in done.stderr
        if done.returncode == EXIT_INVALID:
            raise BusyMachineError(done.stdout)
        printed = f"{done.stdout}\n{done.stderr}".replace(url, PLACE)
        # progress has the seconds that have gone in front
        shapes = {re.sub(r"^N s ", "", shape(line)) for line in printed.splitlines()}
        assert [line for line in expected if shape(line) not in shapes] == [], printed
