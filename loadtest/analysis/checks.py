"""What a validity check found, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from loadtest.analysis.percentiles import number

Scope = Literal["run", "region", "cell"]

COUNTING: Final = frozenset(
    {
        *("complete", "worker", "reconciliation", "dropped", "generator"),
        *("scenario", "cancelled", "answered", "played"),
    }
)
"""Checks that speak against counts too; all others are about times."""


_CAUSES: Final = ("complete", "sealed", "worker", "scenario", "generator")
"""Checks that tell why others fail, too: they are told first."""


@dataclass(frozen=True, slots=True)
class ValidityCheck:
    """
    One fact that the numbers' worth hangs on.

    ``observed`` is None where the platform cannot tell.  ``region``, ``deployment`` and
    ``scenario`` are empty where the check covers all of them.  ``why`` says what was found and what
    it means, ``advice`` what to do about it; both are sentences, ``advice`` empty when all is well.
    """

    name: str
    scope: Scope
    observed: float | None
    limit: float | None
    unit: str
    ok: bool
    why: str
    advice: str = ""
    region: str = ""
    deployment: str = ""
    scenario: str = ""
    worker: str = ""

    def covers(self, region: str, deployment: str, scenario: str) -> bool:
        """Tell whether a cell lies within the check's scope."""
        return (
            self.region in ("", region)
            and self.deployment in ("", deployment)
            and self.scenario in ("", scenario)
        )

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "name": self.name,
            "scope": self.scope,
            "region": self.region,
            "deployment": self.deployment,
            "scenario": self.scenario,
            "worker": self.worker,
            "observed": number(self.observed),
            "limit": number(self.limit),
            "unit": self.unit,
            "ok": self.ok,
            "why": self.why,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class SplitTest:
    """
    A/A within the run: one arm's requests split at random, judged as if they were two arms.

    ``raw_fires`` of ``trials`` splits had a 95 % interval that excludes no difference (5 % would be
    nominal), ``gate_fires`` had one wholly beyond the gate's margin (a false alarm).
    """

    trials: int
    raw_fires: int
    gate_fires: int
    ok: bool

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "trials": self.trials,
            "raw_fires": self.raw_fires,
            "gate_fires": self.gate_fires,
            "ok": self.ok,
        }


@dataclass(frozen=True, slots=True)
class Validity:
    """All checks of a run.  Only a run whose every check is ok is valid."""

    checks: tuple[ValidityCheck, ...]
    aa: SplitTest

    @property
    def ok(self) -> bool:
        """Tell whether no check failed."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[ValidityCheck, ...]:
        """The checks that failed, those first which tell why others did."""
        found = [check for check in self.checks if not check.ok]
        return tuple(sorted(found, key=lambda check: check.name not in _CAUSES))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the failed checks found and advise, a sentence or two each."""
        return tuple(f"{check.why} {check.advice}".strip() for check in self.failed)

    def against(
        self, region: str, deployment: str, scenario: str, *, counting: bool = False
    ) -> tuple[str, ...]:
        """
        Return the sentences that speak against a cell; empty when it can be trusted.

        Args:
            region: The cell's client region.
            deployment: Its deployment.
            scenario: Its scenario.
            counting: Ask about its counts: a late clock bends times, but no number of queries.
        """
        failed = [
            c
            for c in self.failed
            if c.covers(region, deployment, scenario) and (c.name in COUNTING or not counting)
        ]
        return tuple(f"{check.why} {check.advice}".strip() for check in failed)

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "ok": self.ok,
            "checks": [check.to_json() for check in self.checks],
            "aa": self.aa.to_json(),
        }
