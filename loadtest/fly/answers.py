"""What the Machines API answers with: apps, machines, their checks and events, regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.fly.machines import RUN_ID_KEY, MachineConfig


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """The newest result of one health check: ``passing``, ``warning`` or ``critical``."""

    name: str
    status: str
    output: str = ""

    @property
    def passing(self) -> bool:
        """Tell whether the check lets requests through."""
        return self.status == "passing"


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """
    Something that happened to a machine.

    ``exit_code`` is None unless the event is an exit; ``output`` is the end of the machine's log
    where the world tells it.
    """

    type: str
    status: str = ""
    timestamp_ms: int = 0
    exit_code: int | None = None
    restart_count: int = 0
    output: str = ""
    asked: bool = False
    """Somebody had it stopped."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MachineEvent:
        """Read the API's form."""
        request = data.get("request") or {}
        ended = request.get("exit_event") or {}
        return cls(
            type=str(data.get("type", "")),
            status=str(data.get("status", "")),
            timestamp_ms=int(data.get("timestamp") or 0),
            exit_code=int(ended["exit_code"]) if ended.get("exit_code") is not None else None,
            restart_count=int(request.get("restart_count") or 0),
            output=str(ended.get("output") or ""),
            asked=bool(ended.get("requested_stop")),
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as the API tells it; events are newest first, as Fly orders them."""

    id: str
    name: str
    state: str
    region: str
    instance_id: str
    config: MachineConfig
    checks: tuple[CheckStatus, ...] = ()
    events: tuple[MachineEvent, ...] = ()
    created_at: str = ""
    """RFC 3339, as the platform writes it."""
    private_ip: str = ""
    """Its address on the private network."""

    @property
    def run_id(self) -> str:
        """Return the run the machine was made for, empty when it is not one of ours."""
        return self.config.metadata.get(RUN_ID_KEY, "")

    @property
    def last_exit(self) -> MachineEvent | None:
        """Return the newest exit event that tells a code."""
        exits = [event for event in self.events if event.exit_code is not None]
        return max(exits, key=lambda event: event.timestamp_ms, default=None)

    @property
    def healthy(self) -> bool:
        """Tell whether it is started and no check of it fails or is still to come."""
        enough = len(self.checks) >= self.config.check_count
        return self.state == "started" and enough and all(check.passing for check in self.checks)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Machine:
        """Read the API's form; KeyError when the id is missing."""
        return cls(
            id=str(data["id"]),
            name=str(data.get("name", "")),
            state=str(data.get("state", "")),
            region=str(data.get("region", "")),
            instance_id=str(data.get("instance_id", "")),
            config=MachineConfig.from_json(data.get("config") or {}),
            checks=tuple(
                CheckStatus(
                    str(check.get("name", "")),
                    str(check.get("status", "")),
                    str(check.get("output") or ""),
                )
                for check in data.get("checks") or ()
            ),
            events=tuple(MachineEvent.from_json(event) for event in data.get("events") or ()),
            created_at=str(data.get("created_at") or ""),
            private_ip=str(data.get("private_ip") or ""),
        )


@dataclass(frozen=True, slots=True)
class App:
    """An app: the name that machines live under."""

    id: str
    name: str
    status: str = ""
    machine_count: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> App:
        """Read the API's form."""
        return cls(
            id=str(data.get("id", "")),
            name=str(data.get("name", "")),
            status=str(data.get("status", "")),
            machine_count=int(data.get("machine_count") or 0),
        )


@dataclass(frozen=True, slots=True)
class IpAssignment:
    """An address that leads to an app."""

    ip: str
    region: str = ""
    shared: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IpAssignment:
        """Read the API's form."""
        return cls(
            ip=str(data.get("ip", "")),
            region=str(data.get("region") or ""),
            shared=bool(data.get("shared")),
        )


@dataclass(frozen=True, slots=True)
class PlatformRegion:
    """A region as the platform lists it today."""

    code: str
    name: str = ""
    deprecated: bool = False
    requires_paid_plan: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlatformRegion:
        """Read the API's form."""
        return cls(
            code=str(data.get("code", "")),
            name=str(data.get("name", "")),
            deprecated=bool(data.get("deprecated")),
            requires_paid_plan=bool(data.get("requires_paid_plan")),
        )
