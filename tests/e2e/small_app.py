"""A plan that comes up in seconds: one app of a few lines, no database."""

from __future__ import annotations

from pathlib import Path

FLY_TOML = """
app = "shop"
primary_region = "cdg"

[processes]
app = "python shop.py"

[http_service]
internal_port = 8080

[[http_service.checks]]
path = "/healthz"
interval = "2s"
timeout = "1s"
"""

PLAN = """
schema = 1
name = "shop"
regions = ["cdg", "ord"]
primary_region = "cdg"
scenario = "scenario.py"
base = "0"
healthy_within_s = 20

[database]
fly_toml = ""

[load]
rate = 20.0
duration_s = 60.0
warmup_s = 0.5
block_s = 0.5

[gate]
max_looks = 1

[[deployments]]
name = "shop"
fly_toml = "shop/fly.toml"
"""

SCENARIO = """
from locust import task

from loadtest.engine.user import TTFBUser


class Shop(TTFBUser):
    @task
    def look(self):
        self.client.get("/")
"""

SERVES = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

CRASHES = """
print("opening the shop")
raise RuntimeError("the setting FLAVOUR is missing")
"""

NEVER_LISTENS = """
import time
print("waiting for the message queue", flush=True)
time.sleep(600)
"""


def write(folder: Path, app: str = SERVES, *, scenario: str = SCENARIO, **plan: str) -> Path:
    """
    Write plan, app and scenario into a folder.

    Args:
        folder: Working directory of the program.
        app: The app's code.
        scenario: The scenario's code.
        **plan: TOML values of top-level keys that the plan has, such as ``healthy_within_s``.

    Returns:
        The plan.
    """
    (folder / "shop").mkdir()
    (folder / "shop" / "fly.toml").write_text(FLY_TOML)
    (folder / "shop" / "shop.py").write_text(app)
    (folder / "scenario.py").write_text(scenario)
    lines = PLAN.splitlines()
    for key, value in plan.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines]
    path = folder / "plan.toml"
    path.write_text("\n".join(lines))
    return path
