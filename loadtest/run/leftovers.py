"""What runs have left on Fly, as a person is shown it, and its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import connect
from loadtest.fly.leftovers import Findings, Leftover, destroy_leftovers, find_leftovers
from loadtest.fly.prices import size_name, usd_per_s
from loadtest.run.fly_names import config_folder, known_prefix, org_of
from loadtest.run.interruptible import run_to_end
from loadtest.run.run_world import RunWorld, fly_place
from loadtest.units import S_PER_HOUR, format_usd

HEADERS = ("app", "run", "region", "size", "machines", "state", "since", "$/h")
_DATE_LENGTH = len("2026-08-01T12:00:00")


@dataclass(frozen=True, slots=True)
class FlyStatus:
    """
    What runs have in an organization.

    Args:
        org: Slug of the organization.
        leftovers: By app.
        faults: What could not be looked at, with reasons.
    """

    org: str
    leftovers: tuple[Leftover, ...]
    faults: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Return the table: machines of one run that are alike in a row, empty apps by name."""
        rows: list[tuple[str, ...]] = []
        for leftover in self.leftovers:
            groups: dict[tuple[str, str, str], list[Machine]] = defaultdict(list)
            for machine in leftover.machines:
                size = size_name(machine.config.guest)
                groups[machine.run_id, machine.region, size].append(machine)
            if not groups:
                rows.append((leftover.app, "", "", "", "none", "", "", ""))
            rows += [
                (leftover.app, *key, str(len(machines)), *_seen(machines))
                for key, machines in sorted(groups.items())
            ]
        return rows

    @property
    def sentence(self) -> str:
        """Return what it comes to."""
        if not self.leftovers:
            unseen = f" in the others; {len(self.faults)} could not be looked at"
            return (
                f"organization {self.org}: no run has left anything{unseen if self.faults else ''}"
            )
        machines = sum(len(leftover.machines) for leftover in self.leftovers)
        made = sum(leftover.made for leftover in self.leftovers)
        return (
            f"organization {self.org}: {machines} machines of runs, "
            f"{format_usd(self.usd_per_h)} an hour; {made} apps that runs made"
        )

    @property
    def usd_per_h(self) -> float:
        """Return what the machines that are started cost an hour."""
        every = [machine for leftover in self.leftovers for machine in leftover.machines]
        return _usd_per_h(every)


def look(org: str, run_id: str = "") -> FlyStatus:
    """
    Return what runs have in an organization.

    Args:
        org: Its slug; empty takes FLY_ORG, else ``personal``.
        run_id: Keep what this run made; empty keeps what any run made.

    Raises:
        PlanError: No token, or no such slug.
        WorldError: The apps cannot be listed.
    """
    slug = org_of(org)

    async def find(place: RunWorld) -> Findings:
        async with connect(place.api_url, place.token) as client:
            prefix = known_prefix(slug, config_folder())
            return await find_leftovers(client, slug, run_id=run_id, prefix=prefix)

    with fly_place() as place:
        found = run_to_end(find(place))
    return FlyStatus(slug, found.leftovers, found.faults)


def destroy(status: FlyStatus) -> str:
    """
    Destroy what was found; return a sentence about it.

    Raises:
        WorldError: Something is left, or could not be looked at; everything was tried.
    """

    async def clear(place: RunWorld) -> Findings:
        async with connect(place.api_url, place.token) as client:
            return await destroy_leftovers(client, status.leftovers)

    with fly_place() as place:
        done = run_to_end(clear(place))
    faults = [*status.faults, *done.faults]
    left = sum(len(leftover.machines) for leftover in done.leftovers)
    total = sum(len(leftover.machines) for leftover in status.leftovers)
    if left or faults:
        told = f"{left} of {total} machines are left; try again, or look with `fly machine list`"
        raise WorldError("\n".join([told, *faults]))
    made = sum(leftover.made for leftover in status.leftovers)
    return f"destroyed {total} machines and {made} apps; listed again: nothing of them is left"


def _seen(machines: Sequence[Machine]) -> tuple[str, str, str]:
    """Return states, the time of the oldest, and dollars an hour of machines that are alike."""
    states = ", ".join(sorted({machine.state for machine in machines}))
    since = min(machine.created_at for machine in machines)[:_DATE_LENGTH].replace("T", " ")
    return states, since, f"{_usd_per_h(machines):.4f}"


def _usd_per_h(machines: Sequence[Machine]) -> float:
    started = [machine for machine in machines if machine.state not in ("stopped", "suspended")]
    return sum(usd_per_s(m.config.guest, m.region) for m in started) * S_PER_HOUR
