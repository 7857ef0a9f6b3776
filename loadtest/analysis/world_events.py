"""What happened in the world while there was load: machines that ended, faults asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.analysis.load import Run
from loadtest.analysis.percentiles import number
from loadtest.analysis.world_time import WorldTime, world_time
from loadtest.records.watch import FaultFacts, MachineEnd
from loadtest.units import MS_PER_S

_BIT_S = 1.0


@dataclass(frozen=True, slots=True)
class WorldEvent:
    """
    An event on the run's time line.

    Args:
        t_s: When, in seconds of the run.
        until_s: When it was over; None where it lasted to the end, or was over at once.
        kind: ``machine``, ``fault``, or ``name``, which began to resolve elsewhere.
        regions: Client regions that it may have touched; empty for all.
        deployment: The deployment that it touched; empty for all.
        text: What happened, in words.
    """

    t_s: float
    until_s: float | None
    kind: Literal["machine", "fault", "name"]
    regions: tuple[str, ...]
    deployment: str
    text: str

    def touches(self, region: str, deployment: str = "") -> bool:
        """Tell whether a cell, or any cell of a region, lies beside it."""
        return region in (self.regions or (region,)) and (
            not (deployment and self.deployment) or deployment == self.deployment
        )

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "t_s": number(self.t_s),
            "until_s": number(self.until_s),
            "kind": self.kind,
            "regions": list(self.regions),
            "deployment": self.deployment,
            "text": self.text,
        }


def world_events(run: Run) -> tuple[WorldEvent, ...]:
    """Return the events of a run in the order of time, as far as world and workers can tell."""
    found = list(_moves(run))
    time = world_time(run)
    if time is not None:
        found += [_fault(time, fault) for fault in time.watch.faults]
        found += _machines(time)
    return tuple(sorted(found, key=lambda event: (event.t_s, event.text)))


def _moves(run: Run) -> Iterator[WorldEvent]:
    for worker in run.workers:
        for move in worker.moves:
            text = (
                f"{move.name} resolves to {', '.join(move.after)} from here on "
                f"(before: {', '.join(move.before)})"
            )
            yield WorldEvent(move.t_s, None, "name", (worker.region,), "", text)


def _fault(time: WorldTime, fault: FaultFacts) -> WorldEvent:
    began_s = (fault.began_ms - time.epoch_ms) / MS_PER_S
    ended_s = None if fault.ended_ms is None else (fault.ended_ms - time.epoch_ms) / MS_PER_S
    ends = {region for pair in fault.pairs for region in pair.split("-")}
    regions = tuple(sorted(ends)) if not fault.machines else ()
    lasted = (
        "" if ended_s is None or ended_s - began_s < _BIT_S else f" for {ended_s - began_s:.1f} s"
    )
    return WorldEvent(began_s, ended_s, "fault", regions, "", f"fault: {fault.what}{lasted}")


def _machines(time: WorldTime) -> Iterator[WorldEvent]:
    run, last_ms = time.run, time.load_ms[1]
    arms = {app: name for name, app in (run.world.apps or {}).items()}
    events = time.watch.machine_events
    for at, event in enumerate(events):
        text = _words(event, events[at + 1 :])
        if text and event.t_ms <= last_ms:
            # The primary region serves everybody, and so does a machine that is no deployment's.
            shared = event.region == run.plan.primary_region or event.app not in arms
            yield WorldEvent(
                t_s=(event.t_ms - time.epoch_ms) / MS_PER_S,
                until_s=None,
                kind="machine",
                regions=() if shared else (event.region,),
                deployment=arms.get(event.app, ""),
                text=f"{event.app} in {event.region} {text}",
            )


def _words(event: MachineEnd, later: Sequence[MachineEnd]) -> str:
    """
    Return what happened; empty for what follows from another event.

    Args:
        event: An event of a machine.
        later: All that came after it.
    """
    if event.event == "exit" and not event.asked:
        then = "was started anew" if event.restarting else "stayed down"
        return f"ended (exit code {event.exit_code}) and {then}"
    if event.event == "destroy" and event.asked:
        return "was destroyed by a call"
    if event.event == "stop" and event.asked:
        of_it = (e.event for e in later if e.machine == event.machine and e.event != "exit")
        again = next(of_it, "") == "start"
        return "was started anew by a call" if again else "was stopped by a call"
    return ""
