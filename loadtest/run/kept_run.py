"""What a run keeps of itself while it goes on: its plan, its world, and both of them on disk."""

from __future__ import annotations

from dataclasses import replace

from loadtest.frozen import to_json
from loadtest.plan.model import Plan
from loadtest.records.folder import RunFolder
from loadtest.records.world_facts import WorldFacts
from loadtest.run.round_trips import RoundTrip, write_round_trips


class KeptRun:
    """
    One run, as its folder will tell it.

    Args:
        run_id: Name of the run.
        folder: Where it is kept; until it begins, that is still an earlier run's.
        plan: Resolved plan; a pilot may lower its rate.
    """

    def __init__(self, run_id: str, folder: RunFolder, plan: Plan) -> None:
        self.run_id = run_id
        self.folder = folder
        self.plan = plan
        self.world: WorldFacts
        """What is known of the place; known once it is up."""
        self.round_trips: tuple[RoundTrip, ...] = ()
        self.began = False
        """The folder holds this run; before, it is still that of an earlier one."""

    def begin(self) -> None:
        """Make the folder this run's: the first order is taken, so there is a run."""
        self.folder.clear()
        self.began = True
        self.folder.save_json("plan.json", self.plan.to_json())
        self.save_world(self.world)
        write_round_trips(self.folder.path, self.round_trips, self.run_id)

    def save_world(self, world: WorldFacts) -> None:
        """Keep what is known of the place by now."""
        self.world = world
        # the authority's file goes with the world: of what is kept it would be a path and no more
        self.folder.save_json("world.json", to_json(replace(world, authority=None)))
