"""`loadtest init`: the first files of a person who has an app, a locustfile, or a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.config import read_app_config
from loadtest.plan.urls import looks_like_url
from loadtest.records.whole import whole_file

PLAN, SCENARIO = "loadtest.toml", "loadtest_scenario.py"
WORKFLOW = ".github/workflows/latency.yml"

_HEAD = """\
# What `loadtest run {plan}` measures.  Every key: docs/plan.md of loadtest.
schema = 1
name = "{name}"
scenario = "{scenario}"

regions = [{regions}]
primary_region = "{primary}"
base = "0"              # the app takes the time it takes
reproduce = false

thresholds = [
    "ttfb.p95 < 500ms for each region",
]

[load]
rate = 5.0              # requests per second from each region to each deployment
duration_s = 30.0
"""

_APP = """
[network]
rtt = "neutral"         # round-trip times between regions, from measurements of many networks

[[deployments]]
name = "one-region"
title = "One region"
fly_toml = "fly.toml"
machines = "primary"

[[deployments]]
name = "every-region"
title = "Every region, one database"
fly_toml = "fly.toml"
machines = "all"
"""

_URL = """
[database]
fly_toml = ""

[[deployments]]
name = "target"
url = "{url}"
"""

_SCENARIO = '''\
"""What visitors do: ordinary Locust classes; each task is one arrival of the schedule."""

from locust import task

from loadtest.engine.user import TTFBUser


class Visitor(TTFBUser):
    """Somebody who looks at the first page."""

    @task
    def look(self) -> None:
        """Ask for the first page."""
        self.client.get("/")
'''

_WORKFLOW = """\
name: latency
on: pull_request
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0          # the gate compares with where the branch began
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install loadtest
      - run: loadtest gate --base origin/${{ github.base_ref }} --app fly.toml --out run
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: latency-report
          path: run/report.html
"""


@dataclass(frozen=True, slots=True)
class Beginning:
    """
    What was made.

    Args:
        files: Paths that were written.
        advice: What to type next, a line each.
    """

    files: tuple[Path, ...]
    advice: tuple[str, ...]


def begin(folder: Path, url: str = "") -> Beginning:
    """
    Write a plan, a scenario and a workflow for what is in a folder; nothing is overwritten.

    Args:
        folder: Where an app, or a locustfile, may be.
        url: A running deployment; empty where the folder has a fly.toml.

    Raises:
        PlanError: There is nothing to begin with, a file is there already, or cannot be written.
    """
    texts, advice = _texts(folder, url)
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise PlanError(
            f"init: {', '.join(there)} would be overwritten; move it away, or edit it by hand"
        )
    for name, text in texts.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / name) as file:
                file.write(text.encode())
        except OSError as error:
            raise PlanError(f"init: {name} cannot be written: {error.strerror}") from error
    return Beginning(tuple(folder / name for name in texts), advice)


def _texts(folder: Path, url: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    name = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-")[:40] or "app"
    plan = {"plan": PLAN, "name": name, "scenario": SCENARIO}
    if url:
        if not looks_like_url(url):
            raise PlanError(f"--url: {url!r} is no URL; write https://HOST")
        head = _HEAD.format(**plan, regions='"here"', primary="here")
        texts = {PLAN: head + _URL.format(url=url.rstrip("/")), SCENARIO: _SCENARIO}
        return texts, (f"loadtest run {PLAN}",)
    if (folder / "fly.toml").is_file():
        primary = read_app_config(folder / "fly.toml").primary_region or "cdg"
        others = [code for code in ("cdg", "ord", "syd") if code != primary][:2]
        regions = ", ".join(f'"{code}"' for code in (primary, *others))
        head = _HEAD.format(**plan, regions=regions, primary=primary)
        texts = {PLAN: head + _APP, SCENARIO: _SCENARIO, WORKFLOW: _WORKFLOW}
        return texts, (
            f"loadtest run {PLAN}",
            "loadtest gate --base HEAD --app fly.toml",
        )
    if (folder / "locustfile.py").is_file():
        raise PlanError(
            "init: a locustfile needs no plan; run it: "
            "loadtest run -f locustfile.py --host https://HOST"
        )
    raise PlanError(
        "init: there is no fly.toml and no locustfile.py here; name a running deployment with "
        "--url https://HOST, or change to the folder of an app"
    )
