"""What the look before a load says of a page that it cannot measure."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from loadtest.errors import EngineError, WorldError
from loadtest.plan.model import Plan
from loadtest.plan.order import Target
from loadtest.plan.resolve import load_plan, url_plan
from loadtest.run.preflight import preflight, targets_from_here

pytestmark = [pytest.mark.contract, pytest.mark.timeout(60)]

DEAD = "http://127.0.0.1:9"
PAGES = {
    "/old": (302, {"location": "/new?a=1"}),
    "/away": (301, {"location": "https://me:word@shop.example/"}),
    "/lost": (302, {}),
    "/mine": (401, {"www-authenticate": "Bearer"}),
    "/": (200, {}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, headers = PAGES[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/old", "a redirect, which is not followed: ask for where it leads, {url}/new?a=1"),
        ("/away", "ask for where it leads, https://...@shop.example/"),
        ("/lost", "ask for where it leads"),
        ("/mine", "HTTP 401: it wants to know who asks; give what it wants with --header"),
    ],
)
def test_a_page_that_is_no_page_is_told_with_what_to_do(url: str, path: str, told: str) -> None:
    plan = url_plan([url], "", {"paths": [path]})
    with pytest.raises(EngineError) as caught:
        preflight(plan, targets_from_here(plan))
    assert str(caught.value).endswith(told.format(url=url))


def test_a_page_that_answers_is_no_word_worth(url: str) -> None:
    plan = url_plan([url], "", {})
    preflight(plan, targets_from_here(plan))


def test_behind_a_distance_the_reason_is_that_of_the_target_itself(url: str) -> None:
    """A link takes every connection, and drops it where nobody takes it at the other end."""
    plan = url_plan(["http://127.0.0.1:9"], "cdg", {})
    link = {"cdg": {"target": Target(url=url.replace("http", "https"), http="1.1")}}
    with pytest.raises(EngineError) as caught:
        preflight(plan, link)
    assert str(caught.value).endswith("from cdg:\nhttp://127.0.0.1:9/: connection refused")


def deployed(**paths: Any) -> Plan:
    flags = {"regions": ["cdg", "ord"], "deployments": ["single", "multi"], **paths}
    return load_plan(None, {**flags, "scenario": "scenarios/pages.py"})


def everywhere(url: str, **other: str) -> dict[str, dict[str, Target]]:
    """Return targets of both apps in both regions; ``cdg_multi`` and the like are elsewhere."""
    return {
        region: {
            name: Target(url=other.get(f"{region}_{name}", url)) for name in ("single", "multi")
        }
        for region in ("cdg", "ord")
    }


def test_an_app_of_ours_is_asked_in_every_region_and_a_fault_is_the_world_s(url: str) -> None:
    preflight(deployed(paths=["/"]), everywhere(url))
    with pytest.raises(WorldError) as caught:
        preflight(deployed(paths=["/", "/mine"]), everywhere(url))
    told = str(caught.value).splitlines()
    assert told[0] == "before the load, from cdg:"
    assert told[3] == "before the load, from ord:"
    assert [line.partition(" answered")[0] for line in told[1:3]] == [
        "single, /mine:",
        "multi, /mine:",
    ]
    with pytest.raises(WorldError) as caught:
        preflight(deployed(paths=["/"]), everywhere(url, ord_single=DEAD, ord_multi=DEAD))
    assert str(caught.value).splitlines() == [
        "before the load, from ord:",
        "single, /: connection refused",
        "multi, /: connection refused",
    ]


def test_an_app_of_ours_that_another_shows_to_be_at_fault_is_what_the_run_is_for(url: str) -> None:
    preflight(deployed(paths=["/"]), everywhere(url, cdg_single=DEAD, ord_multi=DEAD))


def test_a_url_that_answers_speaks_for_its_page_in_every_region(url: str) -> None:
    plan = deployed(paths=["/"])
    arms = (plan.deployments[0].model_copy(update={"url": url}), plan.deployments[1])
    plan = plan.model_copy(update={"deployments": arms})
    preflight(plan, everywhere(url, cdg_multi=DEAD, ord_multi=DEAD))
    gone = plan.model_copy(
        update={"deployments": (arms[0].model_copy(update={"url": DEAD}), arms[1])}
    )
    with pytest.raises(EngineError, match="connection refused"):
        preflight(gone, everywhere(url, cdg_single=DEAD))
