"""
The names machines call each other by: ``<app>.internal`` and its kin, ``<app>.flycast``.

Pure functions over a table of machines.  Where machines are hosts of their own a name server
answers them; in the relay layer names in a machine's environment are replaced, before it starts, by
the loopback address of a link.

Source: Fly's documentation, networking/private-networking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["any", "region", "nearest", "machine", "process", "metadata", "flycast"]
Distance = Callable[[str, str], float]

_NAME = re.compile(
    r"(?<![\w.-])(?P<host>(?:[A-Za-z0-9_-]+\.)+(?:internal|flycast)):(?P<port>\d{1,5})(?!\d)"
)
_NEAREST = re.compile(r"top(\d+)\.nearest\.of\.([\w-]+)")
_PARTS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("machine", re.compile(r"(?P<value>[\w-]+)\.vm\.(?P<app>[\w-]+)")),
    ("process", re.compile(r"(?P<value>[\w-]+)\.process\.(?P<app>[\w-]+)")),
    (
        "metadata",
        re.compile(r"(?P<value>[\w-]+)\.(?P<key>[\w-]+)\.kv\._metadata\.(?P<app>[\w-]+)"),
    ),
    ("region", re.compile(r"(?P<value>[a-z]{3})\.(?P<app>[\w-]+)")),
    ("any", re.compile(r"(?:global\.)?(?P<app>[\w-]+)")),
)


@dataclass(frozen=True, slots=True)
class Name:
    """
    What a name asks for.

    Args:
        kind: How it selects.
        app: The app whose machines it names.
        value: Region, machine id, process group or metadata value.
        key: Metadata key.
        count: N of ``topN.nearest.of``.
    """

    kind: Kind
    app: str
    value: str = ""
    key: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One machine, as far as names care; rows stand in the order machines were made."""

    machine_id: str
    app: str
    region: str
    group: str = "app"
    metadata: Mapping[str, str] = field(default_factory=dict)
    started: bool = True
    primary: bool = False


def parse_name(host: str) -> Name | None:
    """Return what ``host`` asks for; None when it is not a name of the private network."""
    text = host.lower()
    for public in (".flycast", ".fly.dev"):
        if text.endswith(public):
            app = text.removesuffix(public)
            return Name("flycast", app) if app and "." not in app else None
    if not text.endswith(".internal"):
        return None
    text = text.removesuffix(".internal")
    if match := _NEAREST.fullmatch(text):
        return Name("nearest", match[2], count=int(match[1]))
    for kind, pattern in _PARTS:
        if match := pattern.fullmatch(text):
            groups = match.groupdict()
            return Name(kind, groups["app"], groups.get("value", ""), groups.get("key", ""))
    return None


def find_names(text: str) -> list[tuple[str, int]]:
    """Return every (host, port) of the private network in a text, in order, once each."""
    found = ((match["host"], int(match["port"])) for match in _NAME.finditer(text))
    known = ((host, port) for host, port in found if parse_name(host) and 0 < port < 65_536)
    return list(dict.fromkeys(known))


def rewrite(text: str, addresses: Mapping[tuple[str, int], tuple[str, int]]) -> str:
    """
    Replace names by addresses; a name that ``addresses`` lacks stays as it is.

    >>> rewrite("redis://cache.internal:6379/0", {("cache.internal", 6379): ("127.0.0.1", 4001)})
    'redis://127.0.0.1:4001/0'
    """

    def replacement(match: re.Match[str]) -> str:
        address = addresses.get((match["host"], int(match["port"])))
        return match[0] if address is None else f"{address[0]}:{address[1]}"

    return _NAME.sub(replacement, text)


def select(
    name: Name, rows: Iterable[Row], asker_region: str, distance: Distance, *, primary: bool = False
) -> Row | None:
    """
    Return the machine that a name leads to.

    Fly's name server answers with every started machine that matches and programs take the first
    one; here the first one is the nearest, then the oldest. A machine that is not started is
    returned only when no started one matches, so that its region is known in advance.

    Args:
        name: What is asked for.
        rows: All machines.
        asker_region: Region of the machine that asks.
        distance: Round-trip time between two regions.
        primary: The port belongs to the PostgreSQL primary whatever else the name says, as behind
            port 5432 of Fly Postgres, where a proxy in every machine leads to the primary.
    """
    if primary:
        found = [row for row in rows if row.app == name.app and row.primary]
    else:
        found = matching(name, rows)
    return min(
        found,
        key=lambda row: (not row.started, distance(asker_region, row.region)),
        default=None,
    )


def matching(name: Name, rows: Iterable[Row]) -> list[Row]:
    """Return the machines that a name selects, started or not, in their order."""
    return [row for row in rows if row.app == name.app and _matches(name, row)]


def _matches(name: Name, row: Row) -> bool:
    match name.kind:
        case "region":
            return row.region == name.value
        case "machine":
            return row.machine_id == name.value
        case "process":
            return row.group == name.value
        case "metadata":
            return row.metadata.get(name.key) == name.value
        case _:
            return True
