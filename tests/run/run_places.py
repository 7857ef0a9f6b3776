"""What a world says of itself, for tests that need no world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import synth
from synth_files import world_of

from loadtest.records.world_facts import LinkFacts, WorldFacts


def world_facts(**changes: Any) -> WorldFacts:
    """Return what an embedded world of two regions says, with some of it changed."""
    return replace(world_of("r1", synth.make_plan(regions=("cdg", "syd")), 0.0, 10.0), **changes)


def link_facts(pair: str = "cdg-ord", **changes: Any) -> LinkFacts:
    """Return a link that is in order, with some of it changed."""
    link = LinkFacts(pair[:3], pair[4:], 104.0, 104.1, 104.3, n=20, ok=True)
    return replace(link, **changes)
