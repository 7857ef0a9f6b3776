"""The parser of thresholds: recursive descent, a function for each line of the grammar."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final, NoReturn, cast

from loadtest.plan.threshold_tokens import Token, fault_at, tokens_of
from loadtest.plan.thresholds import (
    COUNTS,
    DIMENSIONS,
    METRICS,
    SHARES,
    Comparator,
    Condition,
    Dimension,
    Margin,
    Measure,
    Threshold,
)
from loadtest.units import MS_PER_S, US_PER_MS

_MS_PER: Final = {"us": 1 / US_PER_MS, "ms": 1.0, "s": float(MS_PER_S)}
_CLAUSES: Final = ("where", "for", "pooled")


def parse_threshold(text: str) -> Threshold:
    """
    Parse one rule.

    Raises:
        PlanError: It is not of the grammar; the message has a caret under the fault, what was
            expected there, and the nearest word.
    """
    return Parser(text).threshold()


class Parser:
    """
    Parses one rule.

    Args:
        text: The rule as a person wrote it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.place = 0

    def threshold(self) -> Threshold:
        """Parse the whole rule; PlanError with a caret where it departs from the grammar."""
        measure = self._measure()
        arm = self._arm()
        if self._accept("within"):
            return self._baseline(measure, arm)
        return self._comparison(measure, arm)

    def _comparison(self, measure: Measure, arm: str) -> Threshold:
        at = self.place
        if self._peek().text not in ("<", "<=", ">", ">="):
            self._expected("a comparator (<, <=, >, >=) or within")
        comparator = cast(Comparator, self._next().text)
        if self._starts_relative():
            return self._relative(measure, arm, comparator)
        limit = self._limit(measure)
        if arm:
            self._fail_at(
                self.tokens[at].at,
                f"{measure}({arm}) is compared with another arm or a baseline; for a limit write "
                f"`{measure} {comparator} ... where deployment = {arm}`",
            )
        conditions, each, pooled = self._clauses()
        return Threshold(
            text=self.text,
            kind="absolute",
            measure=measure,
            comparator=comparator,
            limit=limit,
            conditions=conditions,
            each=each,
            pooled=pooled,
        )

    def _starts_relative(self) -> bool:
        token = self._peek()
        if token.kind == "word" and token.text.split(".")[0] in METRICS:
            return True
        return token.kind == "number" and self.tokens[self.place + 1].text == "*"

    def _relative(self, measure: Measure, arm: str, comparator: Comparator) -> Threshold:
        factor = 1.0
        if self._peek().kind == "number":
            factor = float(self._next().text)
            self._accept("*")
        at = self._peek().at
        other_measure = self._measure()
        other_at = self._peek().at
        other = self._arm()
        if not arm or not other:
            self._fail_at(
                other_at if arm else at,
                f"a comparison of arms names both: {measure}(replica) {comparator} "
                f"{factor:g} * {other_measure}(multi)",
            )
        if measure.unit != other_measure.unit:
            self._fail_at(at, f"{measure} and {other_measure} have no common unit")
        if arm == other and measure == other_measure:
            self._fail_at(other_at, f"{arm!r} is compared with itself; name two deployments")
        conditions, each, pooled = self._clauses()
        return Threshold(
            text=self.text,
            kind="relative",
            measure=measure,
            comparator=comparator,
            limit=factor,
            arm=arm,
            other=other,
            other_measure=other_measure,
            conditions=conditions,
            each=each,
            pooled=pooled,
        )

    def _baseline(self, measure: Measure, arm: str) -> Threshold:
        margin = self._margin(measure)
        self._word("of")
        self._word("baseline")
        other = self._arm()
        conditions, each, pooled = self._clauses()
        return Threshold(
            text=self.text,
            kind="baseline",
            measure=measure,
            arm=arm,
            other=other,
            margin=margin,
            conditions=conditions,
            each=each,
            pooled=pooled,
        )

    def _measure(self) -> Measure:
        token = self._peek()
        name, dot, aggregation = token.text.partition(".")
        if token.kind != "word" or name not in METRICS:
            self._expected("a metric", METRICS, name)
        self._next()
        at = token.at + len(name) + 1
        if name in SHARES:
            if dot and aggregation not in ("rate", "share"):
                self._fail_at(at, f"{name} is a share of requests: write {name}.share or {name}")
            return Measure(name, None)
        if name in COUNTS and not dot:
            return Measure(name, None)
        if not dot:
            self._fail_at(
                token.at + len(name), f"how is {name} to be read? write {name}.p50 or {name}.mean"
            )
        if aggregation == "mean":
            return Measure(name, None)
        match = re.fullmatch(r"p(\d{1,2}(?:\.\d{1,4})?)", aggregation)
        if match is None or float(match[1]) == 0:
            self._fail_at(
                at,
                f"{aggregation!r} is no aggregation of {name}: p50, p95, p99.9 (0 to 100) or mean",
            )
        return Measure(name, float(match[1]))

    def _arm(self) -> str:
        if not self._accept("("):
            return ""
        name = self._name("the name of a deployment")
        if not self._accept(")"):
            self._expected("a closing )")
        return name

    def _limit(self, measure: Measure) -> float:
        token = self._peek()
        value = self._number(f"a limit for {measure}")
        unit = self._unit()
        if measure.unit == "ms":
            if unit not in _MS_PER:
                self._fail_at(
                    token.at, f"{measure} is a time: give {value:g} its unit, us, ms or s"
                )
            return value * _MS_PER[unit]
        if measure.unit == "trips":
            if unit:
                self._fail_at(token.at, f"{measure} is a count and has no unit")
            return value
        share = value / 100 if unit == "%" else value
        if unit == "" and value >= 1:
            self._fail_at(
                token.at,
                f"{measure} is a share, and {value:g} is all of them; did you mean {value:g}%?",
            )
        if unit not in ("", "%") or share > 1:
            self._fail_at(token.at, f"{measure} is a share: write 1% or 0.01")
        return share

    def _margin(self, measure: Measure) -> Margin:
        if self._accept("margin"):
            return Margin(from_plan=True)
        token = self._peek()
        start = self.place
        value = self._number("a margin such as 5% or 5ms")
        if measure.unit != "share" and self._unit() == "%":
            absolute = self._limit(measure) if self._accept("or") else 0.0
            return Margin(share=value / 100, absolute=absolute)
        self.place = start
        absolute = self._limit(measure)
        if self._accept("or"):
            self._fail_at(token.at, "the share comes first: within 5% or 5ms of baseline")
        return Margin(absolute=absolute)

    def _clauses(self) -> tuple[tuple[Condition, ...], tuple[Dimension, ...], bool]:
        conditions: list[Condition] = []
        each: list[Dimension] = []
        pooled = False
        while self._peek().kind != "end":
            if self._accept("where"):
                conditions.append(self._condition())
                while self._accept("and"):
                    conditions.append(self._condition())
            elif self._accept("for"):
                self._word("each")
                each.append(self._each(conditions))
                while self._accept(","):
                    each.append(self._each(conditions))
            elif self._accept("pooled"):
                pooled = True
            else:
                self._expected("where, for each, pooled or the end", _CLAUSES, self._peek().text)
        return tuple(conditions), tuple(each), pooled

    def _each(self, conditions: list[Condition]) -> Dimension:
        dimension = self._dimension()
        if self._accept("in"):
            conditions.append(Condition(dimension, self._names()))
        return dimension

    def _condition(self) -> Condition:
        dimension = self._dimension()
        if self._accept("="):
            return Condition(dimension, (self._name(f"the name of a {dimension}"),))
        if self._accept("!="):
            return Condition(dimension, (self._name(f"the name of a {dimension}"),), negated=True)
        negated = self._accept("not")
        if not self._accept("in"):
            self._expected("=, !=, in or not in")
        return Condition(dimension, self._names(), negated)

    def _dimension(self) -> Dimension:
        token = self._peek()
        if token.text not in DIMENSIONS:
            self._expected("a dimension", DIMENSIONS, token.text)
        self._next()
        return token.text

    def _names(self) -> tuple[str, ...]:
        names = [self._name("a name")]
        while self._peek().text == "," and self.tokens[self.place + 1].text not in DIMENSIONS:
            self._next()
            names.append(self._name("a name"))
        return tuple(names)

    def _name(self, what: str) -> str:
        token = self._peek()
        if token.kind not in ("word", "quoted", "number"):
            self._expected(what)
        self._next()
        return token.text.strip("\"'") if token.kind == "quoted" else token.text

    def _number(self, what: str) -> float:
        if self._peek().kind != "number":
            self._expected(what)
        return float(self._next().text)

    def _unit(self) -> str:
        for unit in (*_MS_PER, "%"):
            if self._accept(unit):
                return unit
        return ""

    def _word(self, word: str) -> None:
        if not self._accept(word):
            self._expected(f"the word {word!r}", (word,), self._peek().text)

    def _accept(self, text: str) -> bool:
        if self._peek().kind != "quoted" and self._peek().text == text:
            self.place += 1
            return True
        return False

    def _peek(self) -> Token:
        return self.tokens[self.place]

    def _next(self) -> Token:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def _expected(self, what: str, words: Iterable[str] = (), found: str = "") -> NoReturn:
        token = self._peek()
        known = tuple(words)
        near = difflib.get_close_matches(found.lower(), known, n=1) if found else []
        got = f"found {token.text!r}" if token.text else "the rule ends here"
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = f" ({', '.join(known)})" if len(known) > 1 and not near else ""
        self._fail_at(token.at, f"expected {what}{listed}, {got}{hint}")

    def _fail_at(self, at: int, what: str) -> NoReturn:
        fault_at(self.text, at, what)
