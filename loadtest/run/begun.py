"""Begins a plan's world before all is known of it, and before what drives it is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.plan.model import Plan
from loadtest.world.handle import world_begun


@contextmanager
def begun_for(plan: Plan, world_url: str = "") -> Iterator[None]:
    """
    Have the world begun that a plan needs, if that is one of its own on this machine.

    Args:
        plan: Resolved plan.
        world_url: A world that is up already, or empty.

    Raises:
        WorldError: No process can be started.
    """
    if plan.world != "embedded" or world_url:
        yield
        return
    with world_begun():
        yield
