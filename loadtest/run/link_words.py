"""What a person is told about an embedded world's links."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.records.world_facts import LinkFacts


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
