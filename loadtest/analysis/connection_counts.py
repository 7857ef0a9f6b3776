"""How the requests of a cell came by their connections."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """
    How a cell's requests came by their connections.

    Args:
        sent: Requests that were sent.
        asked: Of those, that opened a connection which plan or scenario asked for.
        unasked: That opened one nobody asked for; opening it is in their TTFB.
        resent: That were sent a second time because an open connection turned out to be closed.
    """

    sent: int
    asked: int
    unasked: int
    resent: int

    def to_json(self) -> dict[str, int]:
        """Return JSON-ready values."""
        return asdict(self)
