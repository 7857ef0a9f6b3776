"""`loadtest init`: the first files of a person who has an app, a locustfile, or a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.errors import PlanError
from loadtest.fly.config import read_app_config
from loadtest.plan.credentials import split_credentials, without_credentials
from loadtest.plan.urls import looks_like_url, url_faults
from loadtest.records.whole import whole_file
from loadtest.run.begin_app import find_app

PLAN, SCENARIO, FLY_TOML = "loadtest.toml", "loadtest_scenario.py", "fly.toml"
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
duration_s = 60.0       # what p95 takes to pass: 59 blocks of a second
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
        self.client.get({path!r})
'''

_STEPS = """\
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      # OWNER: whose loadtest you use.  The package of this name on PyPI is another project.
      - run: pip install "git+https://github.com/OWNER/loadtest"
"""
_REPORT = """\
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: latency-report
          path: run/report.html
"""
_WORKFLOW = f"""\
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
{_STEPS}\
      - run: loadtest gate --base origin/${{{{ github.base_ref }}}} --app fly.toml --out run
{_REPORT}"""
_LOCUSTFILE_WORKFLOW = f"""\
name: latency
on: workflow_dispatch
permissions:
  contents: read
jobs:
  load:
    runs-on: ubuntu-latest
    env:
      HOST: ${{{{ vars.LOADTEST_HOST }}}}   # where requests go, such as https://staging.shop.example
    steps:
      - uses: actions/checkout@v4
{_STEPS}\
      - run: >-
          loadtest run -f locustfile.py --host "$HOST" --users 10 --spawn-rate 5 --run-time 2m
          --threshold 'errors < 5%' --out run
{_REPORT}"""


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

    An app that has no fly.toml gets one, where it is seen what starts it.

    Args:
        folder: Where an app, or a locustfile, may be.
        url: A running deployment; empty where the folder has an app.

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
        base, path = _split(url)
        head = _HEAD.format(**plan, regions='"here"', primary="here")
        texts = {PLAN: head + _URL.format(url=base), SCENARIO: _SCENARIO.format(path=path)}
        return texts, (f"loadtest run {PLAN}",)
    made = {} if (folder / FLY_TOML).is_file() else _made_app(folder, name)
    if made or (folder / FLY_TOML).is_file():
        primary = "cdg" if made else read_app_config(folder / FLY_TOML).primary_region or "cdg"
        others = [code for code in ("cdg", "ord", "syd") if code != primary][:2]
        regions = ", ".join(f'"{code}"' for code in (primary, *others))
        head = _HEAD.format(**plan, regions=regions, primary=primary)
        scenario = _SCENARIO.format(path="/")
        texts = {**made, PLAN: head + _APP, SCENARIO: scenario, WORKFLOW: _WORKFLOW}
        return texts, (
            f"loadtest run {PLAN}",
            "loadtest gate --base HEAD --app fly.toml",
        )
    if (folder / "locustfile.py").is_file():
        return {WORKFLOW: _LOCUSTFILE_WORKFLOW}, (
            "loadtest run -f locustfile.py --host https://HOST",
            "a locustfile needs no plan; set the variable LOADTEST_HOST for the workflow",
        )
    raise PlanError(
        "init: there is no fly.toml, Dockerfile, Procfile, Python web app or locustfile.py here; "
        "name a running deployment with --url https://HOST, or change to the folder of an app"
    )


def _made_app(folder: Path, name: str) -> dict[str, str]:
    """Return a fly.toml for the app of a folder that has none; nothing where none is seen."""
    found = find_app(folder)
    return {FLY_TOML: found.fly_toml(name)} if found is not None else {}


def _split(url: str) -> tuple[str, str]:
    """Return base and path of a URL; neither may hold what belongs into no file."""
    plain, credentials = split_credentials(url)
    if not looks_like_url(plain):
        raise PlanError(f"--url: {without_credentials(url)!r} is no URL; write https://HOST")
    if credentials:
        raise PlanError(
            "--url: a user and a password go into no file; leave them out, and give each run "
            "--header 'Authorization: Basic ${TOKEN}'"
        )
    parts = urlsplit(plain)
    base = f"{parts.scheme}://{parts.netloc}"
    if faults := list(url_faults("--url", base)):
        raise PlanError(*faults)
    path = parts.path or "/"
    return base, f"{path}?{parts.query}" if parts.query else path
