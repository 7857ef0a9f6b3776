"""Where a name and a port lead from a region, as the world's machines are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.world.links.address import LinkAddress
from loadtest.world.machines.names import Name, Row, select
from loadtest.world.machines.store import Store
from loadtest.world.spec import WorldSpec

PRIMARY_PORT = 5432
SECURE_PRIMARY_PORT = 6432
"""Where the primary is reached over TLS: a pooler's port, as its own server has no TLS."""
PRIMARY_PORTS = (PRIMARY_PORT, SECURE_PRIMARY_PORT)
SECURE_PORT = 443
"""Where edges end TLS, as on Fly; whatever else is called at an edge is plain HTTP."""

LOOPBACK = "127.0.0.1"

Rows = Mapping[str, Sequence[Row]]
"""What names care about, by app."""


Way = tuple[str, int]
"""A name of the private network, and the port that is called there."""


@dataclass(slots=True)
class MachineLink:
    """The way from one machine to one name, and where it leads now."""

    id: str
    machine_id: str
    host: str
    port: int
    name: Name
    target: LinkAddress | None
    one_way_ns: int
    region: str
    near_port: int = 0


@dataclass(slots=True)
class EdgeLink:
    """The way from the edge of a region to a machine: the port to dial, and where it leads now."""

    near_port: int
    target: LinkAddress


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a name leads: an address (None while nobody listens), its region and delay."""

    target: LinkAddress | None
    region: str
    one_way_ns: int


class Aims:
    """
    Knows where names lead.

    Args:
        spec: The world's regions and round-trip times.
        store: Its machines.
        edge_port: Port of the edge of a region for an app, with TLS or without; None where there is
            none.
    """

    def __init__(
        self, spec: WorldSpec, store: Store, edge_port: Callable[[str, str, bool], int | None]
    ) -> None:
        self._spec = spec
        self._store = store
        self._edge_port = edge_port

    def rows(self) -> Rows:
        """Return the machines as they are now, for a number of questions."""
        found: dict[str, list[Row]] = {}
        for row in self._store.rows():
            found.setdefault(row.app, []).append(row)
        return found

    def aim(self, name: Name, port: int, asker_region: str, rows: Rows) -> Aim:
        """Return where a name and a port lead from a region."""
        if name.kind == "flycast":
            edge = self._edge_port(asker_region, name.app, port == SECURE_PORT)
            if edge is not None:
                delay_ns = self._spec.one_way_ns(asker_region, asker_region)
                return Aim(LinkAddress(LOOPBACK, edge), asker_region, delay_ns)
        own = rows.get(name.app, ())
        primary = port in PRIMARY_PORTS and any(row.primary for row in own)
        row = select(name, own, asker_region, self._spec.rtt_between_ms, primary=primary)
        if row is None:  # nobody yet: the primary region is the likeliest place
            region = self._spec.primary_region
            return Aim(None, region, self._spec.one_way_ns(asker_region, region))
        machine = self._store.by_id(row.machine_id)
        real = machine.ports.get(port) if row.started else None
        delay_ns = self._spec.one_way_ns(asker_region, row.region)
        return Aim(None if real is None else machine.address(real), row.region, delay_ns)
