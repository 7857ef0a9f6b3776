"""A URL and nothing else: measured from this machine, and with the distance to a region."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_program import finished, read

from loadtest.errors import EXIT_ENGINE, EXIT_PASS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

SHORT = ("--duration", "4s", "--warmup", "1s", "--out", "run")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.hosts.add(self.headers["host"])  # type: ignore[attr-defined]
        body = b"hello"
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.hosts = set()  # type: ignore[attr-defined]
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def medians(folder: Path) -> dict[str, float]:
    cells = read(folder / "run" / "summary.json")["cells"]
    return {cell["region"]: cell["ttfb_ms"]["p50"] for cell in cells}


def test_a_url_is_enough(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"http://localhost:{server.server_port}"
    # a limit that noise of the machine does not come near: what is asked is that it is judged
    rule = ("--threshold", "ttfb.p50 < 5s")
    asked = ("--path", "/", "--path", "/b", "--duration", "13s")
    done = finished("run", url, *SHORT, *asked, *rule, cwd=tmp_path)
    assert done.returncode == EXIT_PASS, done.stdout + done.stderr
    assert f"load on {url}: 5 requests a second for 14 s, 70 in all" in done.stderr
    assert "here" in done.stdout
    assert 0 < medians(tmp_path)["here"] < 50


def test_distance_is_put_in_front_of_it(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    """Direct plus the round trip, within a millisecond; the server sees its own name."""
    url = f"http://localhost:{server.server_port}"
    done = finished("run", url, "--at", "CDG", "--regions", "cdg,syd", *SHORT, cwd=tmp_path)
    assert done.returncode == EXIT_PASS, done.stdout + done.stderr
    network = read(tmp_path / "run" / "plan.json")["network"]
    found = medians(tmp_path)
    distance = network["rtt_ms"]["cdg-syd"] - network["same_region_ms"]
    assert found["syd"] - found["cdg"] == pytest.approx(distance, abs=1.0)
    assert server.hosts == {f"localhost:{server.server_port}"}  # type: ignore[attr-defined]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "real server, emulated distance: as if in cdg" in report


@pytest.mark.parametrize(
    ("path", "told"), [("/missing", "answered HTTP 404"), ("", "connection refused")]
)
def test_what_cannot_be_measured_is_told_before_the_load(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, path: str, told: str
) -> None:
    port = server.server_port if path else 1
    done = finished("run", f"http://127.0.0.1:{port}{path}", *SHORT, cwd=tmp_path)
    assert done.returncode == EXIT_ENGINE
    assert f"http://127.0.0.1:{port}{path or '/'}: {told}" in done.stderr
    assert not (tmp_path / "run" / "records.parquet").exists()
