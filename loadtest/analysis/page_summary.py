"""What a page (the requests of one name in one cell) showed, and what failed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from loadtest.analysis.percentiles import Distribution, number
from loadtest.records.statuses import proxys_own

_MEANINGS: Final = {
    "dns": "name not resolved",
    "connect-refused": "connection refused",
    "connect-timeout": "no answer to the connection attempt",
    "connect": "connection failed",
    "tls": "TLS failed",
    "send": "request not taken",
    "read-timeout": "no answer in time",
    "closed-early": "connection closed before the answer was whole",
    "protocol": "answer is not HTTP",
    "too-large": "answer too large",
    "check": "the scenario's check failed",
    "generator": "the generating machine ran out of files, ports or memory",
    "cancelled": "stopped while in flight",
}


@dataclass(frozen=True, slots=True)
class FailureCount:
    """
    One kind of failure: how often, and one example of what was said.

    ``status`` is 0 where no answer came; ``example`` is empty where nothing was said.
    """

    kind: str
    status: int
    n: int
    example: str = ""

    @property
    def sentence(self) -> str:
        """What it is, such as ``HTTP 401`` or ``TLS failed (certificate refused: expired)``."""
        if self.kind == "status" and self.status:
            own = self.example.startswith(proxys_own(self.status))
            return self.example if own else f"HTTP {self.status}"
        meaning = _MEANINGS.get(self.kind, self.kind)
        return f"{meaning} ({self.example})" if self.example else meaning

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "kind": self.kind,
            "status": self.status,
            "n": self.n,
            "example": self.example,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class PageSummary:
    """
    One request name in one cell; counts and times as in ``CellSummary``.

    ``statuses`` counts answers by status, ``bytes_mean`` is the mean size on the wire of the
    answers that came, None where none did.
    """

    name: str
    n: int
    errors: int
    rate_per_s: float
    bytes_mean: float | None
    statuses: dict[int, int]
    failures: tuple[FailureCount, ...]
    ttfb: Distribution
    ttfb_with_failures: Distribution

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "name": self.name,
            "n": self.n,
            "errors": self.errors,
            "rate_per_s": number(self.rate_per_s),
            "bytes_mean": number(self.bytes_mean, 1),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "failures": [failure.to_json() for failure in self.failures],
            "ttfb_ms": self.ttfb.to_json(),
            "ttfb_with_failures_ms": self.ttfb_with_failures.to_json(),
        }


@dataclass(frozen=True, slots=True)
class FailedPage:
    """One page of one cell with failures: ``errors`` of its ``n`` requests, by kind."""

    region: str
    deployment: str
    scenario: str
    name: str
    n: int
    errors: int
    failures: tuple[FailureCount, ...]

    @property
    def cell(self) -> str:
        """The cell's name for people."""
        return " / ".join(part for part in (self.region, self.deployment, self.scenario) if part)

    @property
    def sentence(self) -> str:
        """Where, how many, and why."""
        return (
            f"{self.cell}, {self.name}: {self.errors} of {self.n} failed: "
            f"{failure_phrase(self.failures)}"
        )

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "region": self.region,
            "deployment": self.deployment,
            "scenario": self.scenario,
            "name": self.name,
            "n": self.n,
            "errors": self.errors,
            "failures": [failure.to_json() for failure in self.failures],
        }


class HasFailures(Protocol):
    """What failures can be added up of."""

    @property
    def failures(self) -> tuple[FailureCount, ...]:
        """Its kinds of failure."""


def total_failures(pages: Iterable[HasFailures]) -> tuple[FailureCount, ...]:
    """Return the failures of several pages together, the most frequent first."""
    total: dict[tuple[str, int], FailureCount] = {}
    for failure in (failure for page in pages for failure in page.failures):
        before = total.get((failure.kind, failure.status))
        total[failure.kind, failure.status] = FailureCount(
            failure.kind,
            failure.status,
            failure.n + (before.n if before else 0),
            before.example if before else failure.example,
        )
    return tuple(sorted(total.values(), key=lambda one: (-one.n, one.kind, one.status)))


def failure_phrase(failures: tuple[FailureCount, ...]) -> str:
    """Return failures as a phrase: ``400 × HTTP 500, 12 × no answer in time``."""
    return ", ".join(f"{failure.n} × {failure.sentence}" for failure in failures)


def total_statuses(pages: Iterable[PageSummary]) -> dict[int, int]:
    """Return how many answers of several pages together had each status."""
    total: Counter[int] = Counter()
    for page in pages:
        total.update(page.statuses)
    return dict(sorted(total.items()))


def answers_phrase(statuses: dict[int, int], n: int) -> str:
    """
    Return how many answers had each status: ``200`` where all had, ``380 × 200, 20 × none``.

    Args:
        statuses: Answers by status.
        n: Requests sent; those without an answer are ``none``.
    """
    silent = n - sum(statuses.values())
    counted = [*((str(status), count) for status, count in statuses.items())]
    if silent > 0:
        counted.append(("none", silent))
    if len(counted) == 1:
        return counted[0][0]
    return ", ".join(f"{count} × {status}" for status, count in counted)
