"""How many round trips a deployment's design makes a request pay, and over which distance."""

from __future__ import annotations

from typing import Final

from loadtest.plan.apps import Deployment
from loadtest.plan.model import Plan

EDGE_CONNECT_TRIPS: Final = 1
"""A connection opened anew from edge to app, before the request: TCP's handshake."""
DATABASE_CONNECT_TRIPS: Final = 6
"""
Of a connection opened anew to PostgreSQL over TLS: TCP 1, asking for TLS 1, TLS 1.3 1, start-up 1,
SCRAM 2.

Sources: PostgreSQL documentation, "Message Flow" (start-up, SSL session encryption, SASL
authentication); RFC 8446, 2.
"""


def rtt_ms(plan: Plan, a: str, b: str) -> float | None:
    """Return the plan's round-trip time of two regions; None where it has none."""
    try:
        return plan.rtt_between_ms(a, b)
    except KeyError:
        return None


def kind_of(deployment: Deployment) -> str:
    """Return the name of the deployment that a variant varies, its own name otherwise."""
    return deployment.of or deployment.name


def model_hops(kind: str, new_share: float) -> float | None:
    """
    Return the round trips that the model of the published tables gives a remote region, on average.

    TTFB = base + h x RTT with h = 1 for ``single`` (the app is remote), 2 for ``multi`` (two
    queries to a remote database), 0 for ``replica``; a share of requests that find no open
    connection adds its own.

    Args:
        kind: Deployment of the tables.
        new_share: That share, the same from edge to app and from app to database.

    Returns:
        None for a deployment that the model does not know.
    """
    match kind:
        case "single":
            return 1 + EDGE_CONNECT_TRIPS * new_share
        case "multi":
            return 2 + DATABASE_CONNECT_TRIPS * new_share
        case "replica":
            return 0
    return None


def usual_share(share: float) -> int:
    """Return what a median shows of a mixture: 1 where most requests open a connection, else 0."""
    return int(share > 0.5)
