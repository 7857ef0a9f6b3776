"""What the world knows: apps and machines, their states and events, and who waits for a change."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache

from loadtest.fly.ids import new_ulid
from loadtest.fly.machines import MachineConfig
from loadtest.fly.values import Json, split_image, split_registry
from loadtest.world.edge.types import StaticFolder
from loadtest.world.links.address import LinkAddress
from loadtest.world.machines.names import Row

_EVENTS_KEPT = 50
_GENERATOR_MODULES = "loadtest.engine."
ENDED = ("destroyed", "failed", "stopped")


def now_text() -> str:
    """Return the time as the API writes it (RFC 3339, UTC)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def _private_ip(number: int) -> str:
    return str(ipaddress.ip_address(f"fdaa:0:1:a7b:{number // 65_536:x}:{number % 65_536:x}:0:2"))


@dataclass(slots=True)
class CheckResult:
    """The newest result of one health check; ``routing`` ones decide whether edges send here."""

    name: str
    routing: bool
    status: str = "critical"
    output: str = ""
    updated_at: str = field(default_factory=now_text)

    def to_json(self) -> Json:
        """Return the API's form."""
        return {
            "name": self.name,
            "status": self.status,
            "output": self.output,
            "updated_at": self.updated_at,
        }


@dataclass(slots=True)
class Lease:
    """Who may change a machine until when (UNIX seconds)."""

    nonce: str
    owner: str
    description: str
    expires_at: int


@dataclass(eq=False, slots=True)
class MachineRecord:
    """One machine; ``set_state`` and ``touch`` wake those who wait for it."""

    id: str
    app: str
    name: str
    region: str
    raw_config: Json
    config: MachineConfig
    on_change: Callable[[MachineRecord], None]
    number: int = 0
    state: str = "created"
    instance_id: str = field(default_factory=new_ulid)
    created_at: str = field(default_factory=now_text)
    updated_at: str = field(default_factory=now_text)
    events: deque[Json] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    checks: dict[str, CheckResult] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)
    place: str = ""
    """File of its network namespace; empty while it shares this machine's loopback."""
    dialled: dict[int, str] = field(default_factory=dict)
    """Address on which its program was found listening, by port."""
    statics: tuple[StaticFolder, ...] = ()
    """Its files that edges serve themselves."""
    pid: int | None = None
    postgres_role: str = ""
    cordoned: bool = False
    lease: Lease | None = None
    restarts: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _row: tuple[tuple[bool, bool, MachineConfig], Row] | None = None

    @property
    def http_port(self) -> int | None:
        """Return the real port of its first HTTP service, None without one."""
        for service in self.config.services:
            if service.is_http:
                return self.ports.get(service.internal_port)
        return None

    def address(self, port: int) -> LinkAddress:
        """Return where one of its real ports is reached."""
        return LinkAddress(self.dialled.get(port, "127.0.0.1"), port, self.place)

    @property
    def ip4(self) -> str:
        """Return its IPv4 address, which no other machine of the world has."""
        number = self.number + 2
        return f"172.{16 + number // 65_536}.{number // 256 % 256}.{number % 256}"

    @property
    def private_ip(self) -> str:
        """Return its address on the private network (6PN), as the API tells it."""
        return _private_ip(self.number)

    @property
    def routable(self) -> bool:
        """Tell whether edges may send requests to it."""
        gates = [check for check in self.checks.values() if check.routing]
        return (
            self.state == "started"
            and not self.cordoned
            and all(check.status == "passing" for check in gates)
        )

    @property
    def generates_load(self) -> bool:
        """Tell whether it generates load; such a one calls every region's edge on loopback."""
        return any(word.startswith(_GENERATOR_MODULES) for word in self.config.cmd)

    @property
    def row(self) -> Row:
        """Return what names care about; the same object until one of that changes."""
        key = (self.state == "started", self.postgres_role == "primary", self.config)
        if self._row is None or self._row[0] != key:
            row = Row(
                machine_id=self.id,
                app=self.app,
                region=self.region,
                group=self.config.group,
                metadata=self.config.metadata,
                started=key[0],
                primary=key[1],
            )
            self._row = (key, row)
        return self._row[1]

    def set_state(
        self, state: str, event: str = "", *, source: str = "flyd", **request: object
    ) -> None:
        """
        Go to a state and note the event that led there.

        Args:
            state: The new state.
            event: Type of the event; empty notes none.
            source: ``user`` when a call asked for it.
            **request: Details, as the API shows them.
        """
        self.state = state
        if event:
            entry: Json = {
                "id": new_ulid(),
                "type": event,
                "status": state,
                "source": source,
                "timestamp": time.time_ns() // 1_000_000,
            }
            self.events.appendleft(entry | ({"request": request} if request else {}))
        self.touch()

    def set_check(self, name: str, status: str, output: str) -> None:
        """Note a check's result; wakes waiters only when it means something new."""
        result = self.checks[name]
        news = (result.status, result.output) != (status, output)
        result.status, result.output, result.updated_at = status, output, now_text()
        if news:
            self.touch()

    def touch(self) -> None:
        """Wake everybody who waits for this machine."""
        self.updated_at = now_text()
        self._changed.set()
        self._changed = asyncio.Event()
        self.on_change(self)

    async def until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``reached`` is true; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                while not reached():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def to_json(self) -> Json:
        """Return the API's form."""
        whole, tag = split_image(self.config.image)
        registry, repository = split_registry(whole)
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "region": self.region,
            "instance_id": self.instance_id,
            "version": self.instance_id,
            "private_ip": self.private_ip,
            "image_ref": {
                "registry": registry,
                "repository": repository,
                "tag": tag,
                "digest": "",
            },
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            # a size that nobody named is told, too: flyctl reads one from every machine
            "config": {"guest": self.config.guest.to_json(), **self.raw_config},
            "events": list(self.events),
            "checks": [check.to_json() for check in self.checks.values()],
            "host_status": "ok",
            "cordoned": self.cordoned,
        }


@dataclass(slots=True)
class VolumeRecord:
    """One volume, and which machine has it."""

    id: str
    name: str
    region: str
    zone: str
    size_gb: int
    encrypted: bool
    fstype: str
    auto_backup_enabled: bool
    snapshot_retention: int
    created_at: str
    attached_machine_id: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the volume as the API shows it."""
        held = self.attached_machine_id
        return {**asdict(self), "attached_alloc_id": held, "state": "created", "host_status": "ok"}


@dataclass(slots=True)
class AppRecord:
    """One app."""

    name: str
    org: str = "personal"
    network: str = "default"
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    created_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    secrets: dict[str, str] = field(default_factory=dict)
    secrets_version: int = 0
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    addresses: dict[str, Json] = field(default_factory=dict)
    unknown_calls: int = 0
    """How many calls still find the app unknown: Fly tells a fresh one about by and by."""


class Store:
    """Every app and machine of the world, the destroyed ones included."""

    def __init__(self) -> None:
        self.apps: dict[str, AppRecord] = {}
        self._machines: dict[str, MachineRecord] = {}
        self._listeners: list[Callable[[MachineRecord], None]] = []

    def listen(self, listener: Callable[[MachineRecord], None]) -> None:
        """Call ``listener`` with every machine that changes."""
        self._listeners.append(listener)

    def add(
        self, app: str, name: str, region: str, raw_config: Json, config: MachineConfig
    ) -> MachineRecord:
        """Note a new machine, which does not run yet."""
        machine = MachineRecord(
            id=secrets.token_hex(7),  # 14 hexadecimal digits, as Fly's ids
            app=app,
            name=name,
            region=region,
            raw_config=raw_config,
            config=config,
            on_change=self._tell,
            number=len(self._machines),
        )
        self._machines[machine.id] = machine
        machine.set_state("created", "launch", source="user")
        return machine

    def machines(self, app: str | None = None, *, destroyed: bool = False) -> list[MachineRecord]:
        """Return machines in the order they were made, of one app or of all."""
        return [
            machine
            for machine in self._machines.values()
            if (app is None or machine.app == app) and (destroyed or machine.state != "destroyed")
        ]

    def machine(self, app: str, machine_id: str) -> MachineRecord | None:
        """Return one machine of an app, a destroyed one too; None when there never was one."""
        machine = self._machines.get(machine_id)
        return machine if machine is not None and machine.app == app else None

    def __contains__(self, machine_id: str) -> bool:
        """Tell whether there is, or was and is not forgotten, a machine of this id."""
        return machine_id in self._machines

    def forget(self, app: str) -> None:
        """Remove an app and its machines."""
        self.apps.pop(app, None)
        for machine in self.machines(app, destroyed=True):
            del self._machines[machine.id]

    def rows(self) -> Iterator[Row]:
        """Yield what names care about."""
        return (machine.row for machine in self.machines())

    def by_id(self, machine_id: str) -> MachineRecord:
        """Return a machine whose id is known to exist."""
        return self._machines[machine_id]

    def _tell(self, machine: MachineRecord) -> None:
        for listener in self._listeners:
            listener(machine)
