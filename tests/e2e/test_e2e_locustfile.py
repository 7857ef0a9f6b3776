"""A locustfile and nothing else: played as it is; what is wrong with it is told before load."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_program import finished, read

from loadtest.errors import EXIT_PASS, EXIT_PLAN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

FILE = """
import os
from locust import HttpUser, constant_throughput, task
from wares import PATH

class Shopper(HttpUser):
    wait_time = constant_throughput(20)

    def on_start(self):
        self.client.get("/login")

    @task
    def buy(self):
        self.client.get(PATH, name="/item", headers={"X-Key": os.environ["SHOP_KEY"]})

    @task
    def look(self):
        self.client.get("/", verify=False)
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.add((self.path, self.headers["x-key"]))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.asked = set()  # type: ignore[attr-defined]
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_a_locustfile_is_enough(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(FILE)
    (tmp_path / "wares.py").write_text('PATH = "/item?id=7"\n')
    monkeypatch.setenv("SHOP_KEY", "open-sesame")
    url = f"http://127.0.0.1:{server.server_port}/v2"
    users = ("--users", "4", "--spawn-rate", "4", "--run-time", "6s")
    rule = ("--threshold", 'ttfb.p50 < 5s where name = "GET /item"')
    done = finished("run", "-f", "shop.py", "-H", url, *users, *rule, "--out", "run", cwd=tmp_path)
    assert done.returncode == EXIT_PASS, done.stdout + done.stderr
    told = " ".join(done.stderr.split())
    assert "line 18: verify=: what is trusted" in told
    assert "load of shop.py: 4 users for 6 s" in told
    assert server.asked == {  # type: ignore[attr-defined]
        ("/", None),  # the look before the load
        ("/v2/item?id=7", "open-sesame"),
        ("/v2/", None),
        ("/v2/login", None),
    }
    summary = read(tmp_path / "run" / "summary.json")
    assert summary["cells"][0]["scenario"] == "Shopper"
    assert "open-sesame" not in (tmp_path / "run" / "plan.json").read_text()


def test_what_is_wrong_is_told_before_the_load(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nx.y\n")
    done = finished("run", "-f", "broken.py", "-H", "http://localhost:1", cwd=tmp_path)
    assert done.returncode == EXIT_PLAN
    assert "Traceback" not in done.stderr
    assert "line 2: AttributeError" in " ".join(done.stderr.split())
    for words, told in {
        ("--users", "3"): "--users goes with a locustfile; add -f FILE",
        ("-f", "broken.py", "--rate", "5"): "say how many there are with --users",
        ("-f", "none.py", "-H", "http://localhost:1"): "there is no such file",
    }.items():
        done = finished("run", *words, cwd=tmp_path)
        assert done.returncode == EXIT_PLAN
        assert told in " ".join(done.stderr.split())
