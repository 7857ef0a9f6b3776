"""
Thresholds: the rules of the gate, in one grammar for plan files and the command line.

    threshold  = absolute | relative | baseline
    absolute   = measure comparator limit clauses
    relative   = measure "(" name ")" comparator [ number "*" ] measure "(" name ")" clauses
    baseline   = measure [ "(" name ")" ] "within" margin "of" "baseline" [ "(" name ")" ] clauses
    measure    = metric "." aggregation
    metric     = "ttfb" | "ttfb_cold" | "response_from_schedule"
               | "queue" | "dns" | "connect" | "tls" | "send" | "wait" | "receive"
               | "db" | "app" | "db_round_trips" | "replayed" | "errors"
    aggregation = "p" number | "mean"             of times; db_round_trips has "mean" (the default)
               | "rate" | "share"                 of replayed and errors (the default)
    comparator = "<" | "<=" | ">" | ">="
    limit      = number "us" | number "ms" | number "s"    for times
               | number                                    for db_round_trips
               | number "%" | number                       for shares (0.01 is 1%)
    margin     = limit | number "%" | number "%" "or" limit | "margin"
    clauses    = { "where" condition { "and" condition } | "for" "each" each | "pooled" }
    condition  = dimension ( "=" | "!=" ) name | dimension [ "not" ] "in" names
    each       = dimension [ "in" names ] { "," dimension [ "in" names ] }
    dimension  = "region" | "deployment" | "scenario" | "name"
    names      = name { "," name }                name: letters, digits, _ - . / or "in quotes"

Meaning:

- A rule is judged in every cell (region x deployment x scenario) that its clauses select; it passes
  when it holds in each.  ``for each region in ord, syd`` selects, and says so aloud; ``pooled``
  puts the selected cells together, apart from the dimensions that ``for each`` names.
- ``name`` is the name of the request, such as ``"GET /search"``.  Only a rule whose clauses speak
  of it is judged page by page; any other takes all requests of a cell together.
- A relative rule compares two deployments (arms) of one run, measured from the same region.
- A baseline rule asks that the candidate arm is not worse than the baseline arm of the same run by
  more than the margin; better is never a fault.  ``within 5% or 5ms`` allows the larger of the two,
  ``within margin`` takes both from the plan's ``[gate]``.  Arms that are not named are those called
  ``candidate`` and ``base``.
- Percentiles are 0 to 100, nearest rank, with failed requests as infinitely slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dimension = Literal["region", "deployment", "scenario", "name"]
Kind = Literal["absolute", "relative", "baseline"]
Comparator = Literal["<", "<=", ">", ">="]
Unit = Literal["ms", "trips", "share"]

TIMES = (
    "ttfb",
    "ttfb_cold",
    "response_from_schedule",
    "queue",
    "dns",
    "connect",
    "tls",
    "send",
    "wait",
    "receive",
    "db",
    "app",
)
COUNTS = ("db_round_trips",)
SHARES = ("replayed", "errors")
METRICS = (*TIMES, *COUNTS, *SHARES)
DIMENSIONS: tuple[Dimension, ...] = ("region", "deployment", "scenario", "name")
BASE_ARM = "base"
CANDIDATE_ARM = "candidate"


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric and how it is boiled down; ``percentile`` is None for mean, rate and share."""

    metric: str
    percentile: float | None

    @property
    def unit(self) -> Unit:
        """The unit of its value."""
        if self.metric in SHARES:
            return "share"
        return "trips" if self.metric in COUNTS else "ms"

    def __str__(self) -> str:
        if self.percentile is not None:
            return f"{self.metric}.p{self.percentile:g}"
        return f"{self.metric}.{'share' if self.metric in SHARES else 'mean'}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a cell must be: its ``dimension`` among ``names``, or not among them."""

    dimension: Dimension
    names: tuple[str, ...]
    negated: bool = False

    def holds(self, value: str) -> bool:
        """Tell whether a cell with this value of the dimension is selected."""
        return (value in self.names) != self.negated


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse a candidate may be: the larger of a share of the baseline and ``absolute``."""

    share: float = 0.0
    absolute: float = 0.0
    from_plan: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """
    One parsed rule.

    ``limit`` is in milliseconds, round trips or as a share (0 to 1); for a relative rule it is the
    factor.  ``arm`` is the deployment that is judged, ``other`` the one it is compared with; both
    are empty in absolute rules.
    """

    text: str
    kind: Kind
    measure: Measure
    comparator: Comparator = "<="
    limit: float = 0.0
    arm: str = ""
    other: str = ""
    other_measure: Measure | None = None
    margin: Margin = Margin()
    conditions: tuple[Condition, ...] = ()
    each: tuple[Dimension, ...] = ()
    pooled: bool = False

    def selects(self, region: str, deployment: str, scenario: str) -> bool:
        """Tell whether the clauses select a cell, whatever they say of its pages."""
        value = {"region": region, "deployment": deployment, "scenario": scenario}
        return all(c.holds(value[c.dimension]) for c in self.conditions if c.dimension != "name")

    @property
    def by_name(self) -> bool:
        """Tell whether the rule is about single pages of a cell."""
        return "name" in self.each or any(c.dimension == "name" for c in self.conditions)

    @property
    def names(self) -> tuple[str, ...]:
        """The request names that the clauses mention."""
        return tuple(n for c in self.conditions if c.dimension == "name" for n in c.names)

    def selects_page(self, name: str) -> bool:
        """Tell whether the clauses select the requests of a name."""
        return all(c.holds(name) for c in self.conditions if c.dimension == "name")

    def group(
        self, region: str, deployment: str, scenario: str, name: str = ""
    ) -> tuple[str, str, str, str]:
        """Return what a cell is judged with: its own key, or empty where cells are pooled."""
        if not self.pooled:
            return (region, deployment, scenario, name)
        each = self.each
        return (
            region if "region" in each else "",
            deployment if "deployment" in each else "",
            scenario if "scenario" in each else "",
            name if "name" in each else "",
        )
