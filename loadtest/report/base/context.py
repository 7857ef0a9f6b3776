"""What every section is built from, and the look-ups that several of them share."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from loadtest.analysis.attribution import attribute
from loadtest.gate.rules import BUDGET_KIND
from loadtest.plan.client import client_words
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM
from loadtest.regions import city_of
from loadtest.report.base.style import ArmStyle, arm_styles
from loadtest.report.base.view import Key
from loadtest.units import NS_PER_S

if TYPE_CHECKING:
    from loadtest.analysis.attribution import Parts
    from loadtest.analysis.cells import CellSummary
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import RuleResult, Verdict
    from loadtest.plan.apps import Deployment
    from loadtest.plan.model import Plan

WORST_FIRST: Final = ("invalid", "fail", "inconclusive", "pass", "none")


@dataclass(frozen=True)
class Context:
    """A run with everything that was found out about it; ``command`` repeats it, or is empty."""

    run: Run
    summary: Summary
    verdict: Verdict
    command: str

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return self.run.plan

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Regions with a cell, in plan order: the order of every table and figure."""
        have = {cell.region for cell in self.summary.cells}
        return tuple(code for code in self.plan.regions if code in have)

    @cached_property
    def arms(self) -> dict[str, str]:
        """Name of every arm in plan order -> the arm that it is a variant of, or empty."""
        names = {d.name for d in self.plan.deployments}
        return {d.name: d.of if d.of in names else "" for d in self.plan.deployments}

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, in the order of their first cell."""
        return tuple(dict.fromkeys(cell.scenario for cell in self.summary.cells))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What was measured: addresses of running deployments, or the files of deployed apps."""
        arms = self.plan.deployments
        return tuple(dict.fromkeys(_target_words(arm) for arm in arms if not arm.of))

    @cached_property
    def client(self) -> tuple[str, ...]:
        """What is unusual about the client; a reader of its numbers has to know."""
        return client_words(self.plan.client)

    @cached_property
    def pages(self) -> tuple[str, ...]:
        """Names of the requests, in the order of the pages."""
        names = (page.name for cell in self.summary.cells for page in cell.pages)
        return tuple(dict.fromkeys(names))

    @cached_property
    def revisions(self) -> tuple[str, ...]:
        """Base and candidate with what the plan says they are; empty in a run without them."""
        pair = (BASE_ARM, CANDIDATE_ARM)
        return tuple(
            f"{arm.name}: {arm.title}"
            for arm in self.plan.deployments
            if arm.name in pair and arm.title
        )

    @cached_property
    def machine(self) -> str:
        """The machine that everything ran on, as far as it is known."""
        told = self.run.world.machine
        parts = (
            f"{told.cpus} CPUs" if told.cpus else "",
            f"{told.memory_mb / 1024:.1f} GB" if told.memory_mb else "",
            told.platform or told.kernel or "",
        )
        return ", ".join(part for part in parts if part)

    @cached_property
    def parts(self) -> dict[tuple[str, str, str], Parts]:
        """Where the time of each cell goes, by the cell's key."""
        found = attribute(self.run, self.summary).cells
        return {(p.region, p.deployment, p.scenario): p for p in found}

    @cached_property
    def styles(self) -> dict[str, ArmStyle]:
        """The look of every arm."""
        return arm_styles(self.arms)

    def place(self, region: str) -> str:
        """Return ``syd Sydney``, or the code alone where the city is not known."""
        return f"{region} {self.city(region)}".strip()

    def city(self, region: str) -> str:
        """Return the region's city, or empty text."""
        return city_of(region)

    def cells_in(self, region: str, scenario: str | None = None) -> list[CellSummary]:
        """Return a region's cells in plan order of their arms, of one scenario or of all."""
        return [
            cell
            for cell in self.summary.cells
            if cell.region == region and scenario in (None, cell.scenario)
        ]

    def rtt_ms(self, region: str) -> float:
        """Return the round trip to the primary region; 0 from inside it or where unknown."""
        if region == self.plan.primary_region:
            return 0.0
        try:
            return self.plan.rtt_between_ms(region, self.plan.primary_region)
        except KeyError:
            return 0.0

    def arm_label(self, cell: CellSummary) -> str:
        """Return the arm's name, with its scenario where there are several."""
        return (
            f"{cell.deployment} · {cell.scenario}" if len(self.scenarios) > 1 else cell.deployment
        )

    def page_decision(self, cell: CellSummary, page: str) -> str:
        """Return the worst decision of the rules that look at a page; ``none`` without a rule."""
        if not cell.valid:
            return "invalid"
        found = {
            rule.decision
            for rule in self.verdict.rules
            if rule.name == page and looks_at(rule, cell)
        }
        return next((word for word in WORST_FIRST if word in found), "none")

    def decision(self, cell: CellSummary) -> str:
        """
        Return the worst decision of the rules that look at a cell; ``none`` without a rule.

        The error budget covers every cell of every run: kept, it is no reason to call a cell
        passed that no rule of the plan asks about.
        """
        if not cell.valid:
            return "invalid"
        found = {
            rule.decision
            for rule in self.verdict.rules
            if looks_at(rule, cell) and (rule.kind, rule.decision) != (BUDGET_KIND, "pass")
        }
        return next((word for word in WORST_FIRST if word in found), "none")

    def legend(self, arms: list[str] | None = None) -> tuple[Key, ...]:
        """Return the legend of the arms, all of them unless named."""
        return tuple(
            Key(name, style.role, style.css_dash)
            for name, style in self.styles.items()
            if arms is None or name in arms
        )

    @cached_property
    def started(self) -> str:
        """Start of the run in UTC, to the minute; empty where it is not known."""
        wall_ns = self.summary.run.started_wall_ns
        if not wall_ns:
            return ""
        moment = datetime.datetime.fromtimestamp(wall_ns / NS_PER_S, datetime.UTC)
        return moment.strftime("%Y-%m-%d %H:%M UTC")


def _target_words(arm: Deployment) -> str:
    if not arm.url:
        return arm.fly_toml
    distance = f" (real server, emulated distance: as if in {arm.at})" if arm.at else ""
    return f"{_bare(arm.url)}{distance}"


def _bare(url: str) -> str:
    """Return an address without the name and password that it may hold: reports are shared."""
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


def looks_at(rule: RuleResult, cell: CellSummary) -> bool:
    """Tell whether a rule's result is about a cell, alone or pooled with others."""
    return (
        rule.region in ("", cell.region)
        and rule.deployment in ("", cell.deployment)
        and rule.scenario in ("", cell.scenario)
    )
