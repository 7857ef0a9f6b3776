"""``loadtest advise``: where an app should stand, from what a run has measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadtest.cli_options import EXIT_CODES
from loadtest.cli_words import FilePath
from loadtest.errors import EXIT_FAIL, EXIT_INVALID, EXIT_PASS, PlanError
from loadtest.terminal import Terminal
from loadtest.units import format_ms

if TYPE_CHECKING:
    from loadtest.run.placement import Advice

_LONGEST_MS = 1e6


@click.command(epilog=EXIT_CODES)
@click.argument("folder", required=False, type=FilePath())
@click.option("--visitors", metavar="A=60,B=40", default="",
              help="Visitors' regions with shares; default: the plan's, or all alike.")  # fmt: skip
@click.option("--limit", "limit_ms", type=float, metavar="MS",
              help="Median TTFB to stay under; default: the plan's rule, or 100.")  # fmt: skip
@click.option("--scenario", default="", metavar="NAME",
              help="Scenario of the run that counts; default: its first.")  # fmt: skip
@click.option("--deployment", default="", metavar="NAME",
              help="Ask about this deployment alone.")  # fmt: skip
@click.option("--check", "try_out", is_flag=True,
              help="Run the best proposal in the embedded world and compare.")  # fmt: skip
@click.option("--out", type=FilePath(), help="With --check: run folder to write.")
@click.pass_obj
def advise(terminal: Terminal, /, folder: Path | None, **options: Any) -> int:
    """
    Predict TTFB for other regions, and say which smallest set keeps everybody under a limit.

    FOLDER is a stored run (default: the latest).  With --check the exit code is 0 where every
    prediction came true within 5 %, 10 where one did not, 12 where one could not be measured.
    """
    from loadtest.run.placement import advise_on, check

    limit_ms = options["limit_ms"]
    if limit_ms is not None and not 0 < limit_ms < _LONGEST_MS:
        raise PlanError(f"--limit: {limit_ms:g} is no time; write milliseconds, such as 100")
    found = advise_on(
        folder,
        options["visitors"],
        limit_ms,
        scenario=options["scenario"],
        deployment=options["deployment"],
    )
    _show(terminal, found)
    if not options["try_out"]:
        return EXIT_PASS
    checked = check(found, terminal, options["out"])
    terminal.table(
        "The best proposal, tried out",
        ("region", "predicted p50", "measured p50", "difference", "within 5 %"),
        [
            (
                row.region,
                format_ms(row.predicted_ms),
                "not valid" if row.measured_ms is None else format_ms(row.measured_ms),
                "" if row.off is None else f"{row.off:+.1%}",
                "yes" if row.holds else "no",
            )
            for row in checked
        ],
    )
    if any(row.measured_ms is None for row in checked):
        return EXIT_INVALID
    return EXIT_PASS if all(row.holds for row in checked) else EXIT_FAIL


def _show(terminal: Terminal, advice: Advice) -> None:
    visitors = ", ".join(f"{region} {share:.0%}" for region, share in advice.shares.items())
    terminal.table(
        f"Predicted median TTFB; visitors: {visitors}",
        ("deployment", "machines in", "primary", *advice.shares, "mean", "far queries"),
        [
            (
                proposal.design.deployment,
                ", ".join(proposal.regions),
                proposal.primary,
                *(format_ms(proposal.p50_ms[region]) for region in advice.shares),
                format_ms(proposal.mean_ms),
                f"{proposal.design.far_trips:g}",
            )
            for proposal in advice.proposals
        ],
    )
    best, limit = advice.proposals[0], format_ms(advice.limit_ms)
    where = f"{best.design.deployment} in {', '.join(best.regions)}"
    if best.keeps(advice.limit_ms):
        told = (
            f"The smallest set that keeps everybody's median under {limit}: {where}, the primary "
            f"database in {best.primary}."
        )
    else:
        told = (
            f"No set of the run's regions keeps everybody's median under {limit}; the lowest mean "
            f"has {where}, the primary database in {best.primary}."
        )
    terminal.lines(["", told])
