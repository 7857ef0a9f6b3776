"""The world that is up, for commands of another terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.errors import WorldError
from loadtest.run.run_world import WORLD_TOKEN_VARIABLE, EmbeddedExtras
from loadtest.world.guard.addresses import WorldAddress, addresses


@contextmanager
def standing_world(url: str = "") -> Iterator[EmbeddedExtras]:
    """
    Give the world that is up on this machine.

    Args:
        url: Which one; empty where there is only one.

    Raises:
        WorldError: There is none, there are several, or it does not answer.
    """
    address = _choose(url)
    extras = EmbeddedExtras(address.api_url, address.token)
    try:
        yield extras
    finally:
        extras.close()


def bend(what: str, *, for_s: float, url: str) -> str:
    """
    Let something go wrong in a world that is up; return a sentence about it.

    Args:
        what: The words, see `loadtest.faults`.
        for_s: Seconds until it is over; 0 for until it is healed.
        url: Which world; empty where there is only one.

    Raises:
        WorldError: There is no such world, or it refuses.
    """
    with standing_world(url) as extras:
        told = extras.fault(what, for_s=for_s)
    touched = [f"{len(told['roads'])} directions of links"] if told["roads"] else []
    touched += [f"{len(told['machines'])} machines"] if told["machines"] else []
    lasts = f", for {for_s:g} s" if for_s else ""
    return f"{told['what']}: {' and '.join(touched) or 'nothing'} touched{lasts}"


def _choose(url: str) -> WorldAddress:
    found = addresses()
    if url:
        token = os.environ.get(WORLD_TOKEN_VARIABLE, "")
        known = [entry for entry in found if entry.api_url == url.rstrip("/")]
        if token or not known:
            return WorldAddress(url, token)
        return known[0]
    if not found:
        raise WorldError("no world is up: `loadtest world up` brings one up")
    if len(found) > 1:
        urls = ", ".join(sorted(entry.api_url for entry in found))
        raise WorldError(f"several worlds are up: name one of them with --world: {urls}")
    return found[0]
