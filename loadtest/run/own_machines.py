"""A coordinator that somebody else has started, with workers on machines of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtest.errors import EngineError, PlanError
from loadtest.fly.transport import is_loopback
from loadtest.plan.model import Plan
from loadtest.plan.urls import url_faults
from loadtest.run.coordinator import CoordinatorClient, connect
from loadtest.run.own_keys import TOKEN, find_keys
from loadtest.versions import versions_of

CANNOT_TELL: Final = (
    "these are machines of your own, of which nothing is known but what their workers measure: no "
    "round trip of a link, no count of an edge or a link, no cost; and a worker's region is the "
    "one that it was told at its start"
)
CA_VARIABLE: Final = "LOADTEST_COORDINATOR_CA"


@dataclass(frozen=True, slots=True, repr=False)
class OwnCoordinator:
    """Where a coordinator is, its token, and a file of the authorities that vouch for it."""

    url: str
    token: str
    ca_file: str = ""


def find_coordinator(
    url: str, keys_file: Path | None, environment: Mapping[str, str]
) -> OwnCoordinator:
    """
    Return the coordinator that a person names.

    Raises:
        PlanError: Its URL is none, its token is missing or would travel in the clear.
    """
    plain = url.rstrip("/")
    if faults := list(url_faults("--coordinator", plain)):
        raise PlanError(*faults)
    if urlsplit(plain).scheme == "http" and not is_loopback(plain):
        raise PlanError(
            f"--coordinator: {plain} would get the token unencrypted; give an https:// URL, or a "
            "tunnel's: ssh -L 8089:127.0.0.1:8089 HOST, and --coordinator http://127.0.0.1:8089"
        )
    ca_file = environment.get(CA_VARIABLE, "")
    if ca_file and not Path(ca_file).is_file():
        raise PlanError(f"{CA_VARIABLE}: there is no file {ca_file!r}")
    token = find_keys("driver", keys_file, environment)[TOKEN]
    return OwnCoordinator(plain, token, ca_file)


def regions_there(own: OwnCoordinator) -> list[str]:
    """
    Return the regions that workers are present in, by their codes.

    Raises:
        EngineError: The coordinator does not answer or is of another version, or has no workers.
    """
    with connect(own.url, own.token, ca_file=own.ca_file) as coordinator:
        status = coordinator.present()
    ours = versions_of(("loadtest",))["loadtest"]
    if status.version != ours:
        raise EngineError(
            f"the coordinator at {own.url} runs loadtest {status.version}, this is {ours}: use one "
            "version"
        )
    if not status.workers:
        refused = "; ".join(f"{name} {why}" for name, why in status.refused.items())
        raise EngineError(
            f"the coordinator at {own.url} has no workers{f': {refused}' if refused else ''}; "
            "start them: loadtest worker --region CODE --coordinator HOST:PORT"
        )
    return sorted({worker.region for worker in status.workers})


def spare_workers(coordinator: CoordinatorClient, plan: Plan) -> list[str]:
    """Return a sentence for every region with more workers than the plan takes."""
    wanted = plan.generator.workers_per_region
    told = []
    for region in plan.regions:
        names = sorted(w.id for w in coordinator.present().workers if w.region == region)
        if len(names) > wanted:
            told.append(
                f"{region} has {len(names)} workers and the plan takes {wanted} of them "
                f"(generator.workers_per_region): {', '.join(names[wanted:])} stands by"
            )
    return told
