"""How many round trips a deployment's design makes a request pay, and over which distance."""

from __future__ import annotations

from typing import Final

from loadtest.plan.apps import Deployment
from loadtest.plan.model import Plan

CONNECT_TRIPS: Final = 1
"""A new TCP connection from edge to app costs one round trip before the request."""
DATABASE_CONNECT_TRIPS: Final = 4
"""A new PostgreSQL connection without TLS: TCP 1, start-up and SCRAM 3."""


def rtt_ms(plan: Plan, a: str, b: str) -> float | None:
    """Return the plan's round-trip time of two regions; None where it has none."""
    try:
        return plan.rtt_between_ms(a, b)
    except KeyError:
        return None


def kind_of(deployment: Deployment) -> str:
    """Return the name of the deployment that a variant varies, its own name otherwise."""
    return deployment.of or deployment.name


def model_hops(deployment: Deployment) -> int | None:
    """
    Return the round trips that the model of the published tables gives a remote region.

    TTFB = base + h x RTT with h = 1 for ``single`` (the app is remote), 2 for ``multi`` (two
    queries to a remote database), 0 for ``replica``; a connection opened for every request adds
    its own.

    Returns:
        None for a deployment that the model does not know.
    """
    hops = {"single": 1, "multi": 2, "replica": 0}.get(kind_of(deployment))
    if hops is None:
        return None
    if not deployment.edge_keeps_connections and kind_of(deployment) == "single":
        hops += CONNECT_TRIPS
    if deployment.connection_per_database_use and kind_of(deployment) == "multi":
        hops += DATABASE_CONNECT_TRIPS
    return hops
