"""The example for Express in docs/middleware/express.md replays what it says."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PACKAGES = ("package.json", "package-lock.json")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.contract,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not here"),
]

ROUTES = """
app.get("/", (request, response) => response.send("hello"))
app.get("/seen", () => { throw Object.assign(new Error("read-only"), { code: "25006" }) })
app.get("/fault", () => { throw new Error("ours") })
app.post("/", (request, response) => response.send("written"))
"""
STARTS = 'const app = require("express")();\napp.set("env", "test");\n'
LISTENS = '\nconst s = app.listen(0, "127.0.0.1", () => console.log(s.address().port));\n'


def example() -> str:
    """Return the code of the page."""
    page = (TOP / "docs" / "middleware" / "express.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(lines))


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Serve the example far from the primary region."""
    for name in PACKAGES:
        shutil.copy(TOP / "tests" / "foreign" / "express_pg" / name, tmp_path)
    subprocess.run(["npm", "ci", "--silent"], cwd=tmp_path, check=True)
    before, comment, after = example().partition("// ... routes ...\n")
    assert comment
    (tmp_path / "app.js").write_text(STARTS + before + ROUTES + after + LISTENS)
    with subprocess.Popen(
        ["node", "app.js"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PRIMARY_REGION": "cdg", "FLY_REGION": "syd"},
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, str | None]:
    """Return status and Fly-Replay."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("fly-replay")


def test_reads_are_answered_and_writes_replayed(port: int) -> None:
    assert ask(port, "GET", "/") == (200, None)
    assert ask(port, "POST", "/") == (409, "region=cdg;state=http_method")
    assert ask(port, "POST", "/", fly_replay_failed="timeout") == (200, None)
    assert ask(port, "GET", "/seen") == (409, "region=cdg;state=captured_write")
    assert ask(port, "GET", "/seen", fly_replay_failed="timeout") == (500, None)
    assert ask(port, "GET", "/fault") == (500, None)
