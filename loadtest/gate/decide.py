"""
The decision: an interval against a limit, with error rates kept over cells and looks.

A rule fails in a cell when the interval of what was measured lies wholly beyond its limit, passes
when it lies wholly within, and is undecided otherwise.  Three things keep the rates:

- **Looks.**  A run may be extended a fixed number of times.  Each look has its share of alpha, the
  later ones more, as they know more: a fifth, three tenths and a half of three looks.  By the union
  bound the whole spends no more than alpha, however the looks depend on each other.
- **Cells.**  "Fail" is said when any cell fails, so its level is shared over the family of all
  rules and cells by Holm's step-down procedure.  "Pass" is said only when all cells pass, which
  needs no correction (an intersection-union test).
- **Sides.**  Alpha is the error of each side: to fail what holds, to pass what is broken.  The
  interval that goes with it has the coverage 1 - 2 alpha, as in tests of equivalence.

Sources: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979; Berger,
"Multiparameter Hypothesis Testing and Acceptance Sampling", 1982; Lan and DeMets, "Discrete
Sequential Boundaries for Clinical Trials", 1983 (spending alpha); Schuirmann, "A Comparison of the
Two One-Sided Tests Procedure", 1987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.gate.results import Decision

LOOK_SHARES: Final = (0.2, 0.3, 0.5)
"""What three looks spend of alpha; other numbers of looks spend in proportion to their number."""


@dataclass(frozen=True, slots=True)
class Levels:
    """
    Error rates of one side, before Holm's correction.

    Args:
        side: Of one look.
        whole: Of all looks together.
    """

    side: float
    whole: float = 0.05

    @property
    def coverage(self) -> float:
        """Coverage of the two-sided interval with this error on either side."""
        return 1 - 2 * self.side


def levels_of(alpha: float, look: int, looks: int) -> Levels:
    """
    Return the levels of one look.

    Args:
        alpha: Error rate of the whole run on each side.
        look: Which look, 1 to ``looks``.
        looks: How many looks the plan allows, >= 1.
    """
    look = min(look, looks)
    if looks == len(LOOK_SHARES):
        return Levels(alpha * LOOK_SHARES[look - 1], alpha)
    return Levels(alpha * 2 * look / (looks * (looks + 1)), alpha)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """
    Tell which hypotheses are rejected with a family-wise error of at most ``alpha``.

    Args:
        p_values: One for each hypothesis.
        alpha: Family-wise error rate.
    """
    rejected = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: (p_values[i], i))):
        if p_values[index] > alpha / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected


def decide(p_fail: float, p_pass: float, *, fails: bool, levels: Levels) -> Decision:
    """
    Return the decision on one rule in one cell.

    Args:
        p_fail: Probability of such a sample if the rule truly held.
        p_pass: Probability of such a sample if the rule were truly broken.
        fails: Whether Holm's procedure rejects that the rule holds.
        levels: The look's levels.
    """
    if fails and p_fail <= p_pass:
        return "fail"
    return "pass" if p_pass <= levels.side else "inconclusive"
