"""
What the world's name server knows: the answer to every name of the private network.

Pure functions over a table of machines.

Source: Fly's documentation, networking/private-networking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.world.machines.names import Distance, Row, matching, parse_name

_TEXT_NAME = re.compile(r"(?:(?P<kind>regions|vms)\.)?(?P<app>[\w-]+)\.internal")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What a name stands for.

    Args:
        machines: Ids of the machines whose addresses it has, nearest first.
        edge: App whose edge it leads to; empty for none.
        texts: Its TXT records.
    """

    machines: tuple[str, ...] = ()
    edge: str = ""
    texts: tuple[str, ...] = ()


def look_up(
    host: str, rows: Sequence[Row], apps: Iterable[str], asker_region: str, distance: Distance
) -> Entry | None:
    """
    Return what a name stands for now; None when there is no such name.

    Only started machines have names, as on Fly.

    Args:
        host: The name, without the dot at its end.
        rows: All machines, in the order they were made.
        apps: Names of all apps.
        asker_region: Region of the machine that asks.
        distance: Round-trip time between two regions.
    """
    host, known = host.lower(), set(apps)
    started = [row for row in rows if row.started]
    if (texts := _texts(host, started, known)) is not None:
        return Entry(texts=texts)
    name = parse_name(host)
    if name is None or name.app not in known:
        return None
    if name.kind == "flycast":
        return Entry(edge=name.app)
    found = matching(name, started)
    found.sort(key=lambda row: distance(asker_region, row.region))
    if name.kind == "nearest":
        found = found[: name.count]
    return Entry(tuple(row.machine_id for row in found)) if found else None


def _texts(host: str, started: Sequence[Row], known: set[str]) -> tuple[str, ...] | None:
    if host == "_apps.internal":
        return (",".join(sorted(known)),)
    if host == "_instances.internal":
        told = (f"instance={r.machine_id},app={r.app},region={r.region}" for r in started)
        return (";".join(told),)
    match = _TEXT_NAME.fullmatch(host)
    if match is None or match["kind"] is None or match["app"] not in known:
        return None
    own = [row for row in started if row.app == match["app"]]
    if match["kind"] == "regions":
        return (",".join(sorted({row.region for row in own})),)
    return (",".join(f"{row.machine_id} {row.region}" for row in own),)
