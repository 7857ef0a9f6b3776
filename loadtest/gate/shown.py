"""How a rule's result looks: values, interval and limit in words, made once for every output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.plan.thresholds import COUNTS, SHARES
from loadtest.units import format_interval_ms, format_ms

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult

NOTHING: Final = "–"
_MORE_AND_LESS: Final = {"ms": ("slower", "faster"), "trips": ("more", "fewer")}


@dataclass(frozen=True, slots=True)
class ShownResult:
    """
    A result in words.

    Args:
        values: What was seen, each under its name: ``observed`` alone; candidate, base and
            ``difference``; or both arms and their ``ratio``.
        observed: The same in one phrase.
        interval: Interval of what is held against the limit; empty where there is none.
        limit_name: ``limit``, ``margin`` or ``budget``.
        limit: Its value.
    """

    values: tuple[tuple[str, str], ...]
    observed: str
    interval: str
    limit_name: str
    limit: str

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Every value under its name, interval and limit too."""
        interval = (("interval", self.interval),) if self.interval else ()
        return (*self.values, *interval, (self.limit_name, self.limit))


def show_result(result: RuleResult) -> ShownResult:
    """Return how a result looks in terminal, report, markdown, JUnit and annotations alike."""
    if result.kind == "baseline":
        values = _against_base(result)
    elif result.kind == "relative":
        values = _ratio(result)
    else:
        values = (("observed", _alone(result)),)
    signed = result.kind == "baseline"
    return ShownResult(
        values=values,
        observed=_phrase(result, values),
        interval=_interval(result, signed=signed),
        limit_name={"baseline": "margin", "budget": "budget"}.get(result.kind, "limit"),
        limit=show(result.limit, result.unit),
    )


def show(value: float | None, unit: str) -> str:
    """
    Return a value with its unit, for people.

    Args:
        value: None and not-a-number print as a dash.
        unit: ``ms``, ``trips``, ``share`` (0.01 is 1 %) or ``x`` for a ratio.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if unit == "ms":
        return format_ms(value)
    if not math.isfinite(value):
        return "without bound"
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "x":
        return f"{value:.3g}×"
    return f"{value:.4g} round trip{'' if value == 1 else 's'}"


def unit_of_metric(metric: str) -> str:
    """Return the unit of a metric's own values, such as ``ttfb.p95``: ms, trips or share."""
    name = metric.split(".", maxsplit=1)[0]
    if name in SHARES:
        return "share"
    return "trips" if name in COUNTS else "ms"


def show_change(difference: float, unit: str) -> str:
    """Return a difference with its direction, such as ``3.10 ms slower``."""
    if not difference:
        return "no difference"
    if not math.isfinite(difference):
        return "it failed" if difference > 0 else "the other failed"
    more, less = _MORE_AND_LESS.get(unit, ("higher", "lower"))
    return f"{show_amount(difference, unit)} {more if difference > 0 else less}"


def show_amount(difference: float, unit: str) -> str:
    """Return how large a difference is, without its sign; of shares in percentage points."""
    if unit == "share":
        return f"{abs(difference) * 100:.3g} points"
    return show(abs(difference), unit)


def _alone(result: RuleResult) -> str:
    if result.kind == "budget" and result.observed is not None:
        count = round(result.observed * result.n)
        return f"{count} of {result.n} ({show(result.observed, 'share')})"
    return show(result.observed, result.unit)


def _against_base(result: RuleResult) -> tuple[tuple[str, str], ...]:
    judged, other = result.deployment or "candidate", result.other or "base"
    if result.observed is None or result.base is None:
        return ((judged, NOTHING), (other, show(result.base, result.unit)), ("difference", NOTHING))
    change = show_change(result.observed, result.unit)
    if result.base and result.observed and math.isfinite(result.observed / result.base):
        amount, _, way = change.rpartition(" ")
        change = f"{amount} ({abs(result.observed / result.base) * 100:.1f} %) {way}"
    return (
        (judged, show(result.base + result.observed, result.unit)),
        (other, show(result.base, result.unit)),
        ("difference", change),
    )


def _ratio(result: RuleResult) -> tuple[tuple[str, str], ...]:
    judged, other = result.deployment or "judged", result.other or "other"
    unit = unit_of_metric(result.metric)
    known = result.observed is not None and result.base is not None
    value = result.observed * result.base if known else None  # type: ignore[operator]
    return (
        (judged, show(value, unit)),
        (other, show(result.base, unit)),
        ("ratio", show(result.observed, "x")),
    )


def _phrase(result: RuleResult, values: tuple[tuple[str, str], ...]) -> str:
    if len(values) == 1:
        return values[0][1]
    (judged, value), (other, base), (_, change) = values
    if result.kind == "relative":
        return f"{judged} {value}, {other} {base}: ratio {change}"
    return f"{judged} {value}, {other} {base}: {change}"


def _interval(result: RuleResult, *, signed: bool) -> str:
    low, high, unit = result.low, result.high, result.unit
    if low is None or high is None or low == high:
        return ""
    if unit == "ms":
        return format_interval_ms(low, high, signed=signed)
    if math.isinf(high):
        return f"from {show(low, unit)}"
    scale, digits, end = {
        "share": (100.0, ".3g", " %"),
        "x": (1.0, ".3g", "×"),
    }.get(unit, (1.0, ".4g", " round trips"))
    sign = "+" if signed else ""
    text = f"[{low * scale:{sign}{digits}}, {high * scale:{sign}{digits}}{end}]"
    return text.replace("-", "\N{MINUS SIGN}") if signed else text
