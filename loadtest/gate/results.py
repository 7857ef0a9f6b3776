"""What a gate says: one result for each rule and cell, and the verdict over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from loadtest.analysis.page_summary import FailedPage
from loadtest.analysis.percentiles import number
from loadtest.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS

SCHEMA_VERSION: Final = 1

Decision = Literal["pass", "fail", "inconclusive", "invalid", "none"]

EXIT_CODES: Final[dict[Decision, int]] = {
    "pass": EXIT_PASS,
    "none": EXIT_PASS,
    "fail": EXIT_FAIL,
    "inconclusive": EXIT_INCONCLUSIVE,
    "invalid": EXIT_INVALID,
}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """
    One rule on one cell (or several pooled).

    ``observed`` with its interval ``low`` to ``high`` is compared with ``limit``, all in ``unit``:
    ``ms``, ``trips``, ``share`` (0.01 is 1 %), ``x`` for a ratio between arms.  For a rule against
    a baseline they are differences from it, ``base`` is the baseline's value and ``limit`` the
    margin.  For a ratio ``base`` is the other arm's value, in the metric's own unit.  ``other``
    names the arm that is compared with, empty where there is none; ``name`` is that of the requests
    where the rule is about one page.  ``detectable`` is the smallest
    true value that would have been called fail in 80 of 100 such runs.  ``seconds_to_decide`` is
    the further sampling that an undecided rule is estimated to need, None where it is decided or
    sampling does not help.
    """

    rule: str
    cell: str
    region: str
    deployment: str
    scenario: str
    kind: str
    metric: str
    unit: str
    observed: float | None
    low: float | None
    high: float | None
    limit: float
    base: float | None
    n: int
    decision: Decision
    why: str
    flip: str
    detectable: float | None
    seconds_to_decide: float | None
    p_fail: float | None
    p_pass: float | None
    blocks: int
    other: str = ""
    name: str = ""

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "rule": self.rule,
            "cell": self.cell,
            "region": self.region,
            "deployment": self.deployment,
            "scenario": self.scenario,
            "name": self.name,
            "kind": self.kind,
            "metric": self.metric,
            "unit": self.unit,
            "observed": number(self.observed),
            "low": number(self.low),
            "high": number(self.high),
            "limit": number(self.limit),
            "base": number(self.base),
            "other": self.other,
            "n": self.n,
            "blocks": self.blocks,
            "decision": self.decision,
            "why": self.why,
            "flip": self.flip,
            "detectable": number(self.detectable),
            "seconds_to_decide": number(self.seconds_to_decide, 1),
            "p_fail": number(self.p_fail, 8),
            "p_pass": number(self.p_pass, 8),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The gate's word on a run.

    ``sentence`` is the headline.  ``invalid`` holds the sentences of failed validity checks.
    ``family`` is the number of decisions that Holm's correction was made over, ``alpha`` the error
    rate of each side, shared among ``looks`` looks of which this was number ``look``.
    ``failures`` says by cell and page what failed and why.  ``holds_for`` says what a comparison of
    arms holds for, and whether their answers are of other sizes; empty where none is made.
    """

    run_id: str
    decision: Decision
    sentence: str
    rules: tuple[RuleResult, ...]
    invalid: tuple[str, ...]
    family: int
    alpha: float
    look: int
    looks: int
    seed: int
    resamples: int
    failures: tuple[FailedPage, ...] = ()
    holds_for: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code that the decision ends the program with."""
        return EXIT_CODES[self.decision]

    @property
    def wants_more(self) -> bool:
        """Tell whether another look is allowed and could decide what is open."""
        return self.decision == "inconclusive" and self.look < self.looks

    def count(self, decision: Decision) -> int:
        """Return how many results have a decision."""
        return sum(rule.decision == decision for rule in self.rules)

    def to_json(self) -> dict[str, object]:
        """Return the content of verdict.json."""
        return {
            "schema": SCHEMA_VERSION,
            "run_id": self.run_id,
            "decision": self.decision,
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "holds_for": self.holds_for,
            "rules": [rule.to_json() for rule in self.rules],
            "invalid": list(self.invalid),
            "family": self.family,
            "alpha": self.alpha,
            "look": self.look,
            "looks": self.looks,
            "seed": self.seed,
            "resamples": self.resamples,
            "failures": [page.to_json() for page in self.failures],
        }
