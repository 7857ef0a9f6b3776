"""Measures an embedded world's links, and says how they were met."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.records.world_facts import LinkFacts
from loadtest.run.embedded_extras import EmbeddedExtras
from loadtest.run.progress import Progress

MEASURINGS = 3
"""Times that links are measured before a world is refused: what has just started may be busy."""


def measure_links(extras: EmbeddedExtras, progress: Progress) -> None:
    """
    Let a world measure its links, which it tells of from then on.

    Args:
        extras: The world.
        progress: Told how well they were met.
    """
    progress.step("measuring the links")
    for _ in range(MEASURINGS):
        links = extras.measure()
        if all(link.ok for link in links):
            progress.done(f"links: {worst_link(links)}")
            break


def link_faults(links: Sequence[LinkFacts]) -> list[str]:
    """Return why each link that is not as it was set is not."""
    return [link_sentence(link) for link in links if not link.ok]


def link_sentence(link: LinkFacts) -> str:
    """Return why a link is not as it was set."""
    found = "not one ping came back"
    if (p50_ms := link.measured_rtt_p50_ms) is not None:
        found = f"measured {p50_ms:.2f} ms (median of {link.n}): outside the tolerance"
    return (
        f"link {link.pair}: set to {link.configured_rtt_ms:g} ms, {found}; "
        "the machine is too busy to emulate a network, try again when it is quieter"
    )


def worst_link(links: Sequence[LinkFacts]) -> str:
    """Return how well links were met, by the one that was worst."""
    gaps = [abs((x.measured_rtt_p50_ms or 0.0) - x.configured_rtt_ms) for x in links]
    return f"{len(links)} measured, the worst median is {max(gaps):.2f} ms off"
