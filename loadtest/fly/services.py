"""
What edges forward to a machine in the Machines API: services, their ports and health checks.

Source: https://docs.machines.dev and the public client superfly/fly-go, machine_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.fly.port_options import HttpOptions, TlsOptions
from loadtest.fly.values import API_UNIT_S, Json, format_duration, parse_duration_s

_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """
    A health check: passing means the machine may take requests.

    Args:
        type: ``http`` (a 2xx answer passes) or ``tcp`` (an accepted connection passes).
        port: Port to ask, as the machine sees it; None means the port of the check's service.
        interval_s: Seconds between two checks.
        timeout_s: Seconds one check may take.
        grace_period_s: Seconds after the start in which a failure does not count.
        method: Method of an http check.
        path: Path of an http check.
        headers: Extra headers of an http check.
        protocol: ``https`` makes an http check speak TLS; empty means plain HTTP.
        tls_skip_verify: The certificate of a TLS check is not verified.
        tls_server_name: Name that the certificate of a TLS check must be for.
    """

    type: str = "tcp"
    port: int | None = None
    interval_s: float = 15.0
    timeout_s: float = 2.0
    grace_period_s: float = 1.0
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
    tls_skip_verify: bool = False
    tls_server_name: str = ""

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {
            "type": self.type,
            "interval": format_duration(self.interval_s),
            "timeout": format_duration(self.timeout_s),
            "grace_period": format_duration(self.grace_period_s),
        }
        if self.port is not None:
            data["port"] = self.port
        if self.type == "http":
            data |= {"method": self.method, "path": self.path}
            if self.headers:
                data["headers"] = [{"name": k, "values": [v]} for k, v in self.headers.items()]
            if self.protocol:
                data["protocol"] = self.protocol
            if self.tls_skip_verify:
                data["tls_skip_verify"] = True
            if self.tls_server_name:
                data["tls_server_name"] = self.tls_server_name
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MachineCheck:
        """Read the API's form; ValueError when a value is of no use."""
        return cls(
            type=str(data.get("type", "tcp")),
            port=int(data["port"]) if data.get("port") is not None else None,
            interval_s=parse_duration_s(data.get("interval") or "15s", bare_unit_s=API_UNIT_S),
            timeout_s=parse_duration_s(data.get("timeout") or "2s", bare_unit_s=API_UNIT_S),
            grace_period_s=parse_duration_s(
                data.get("grace_period") or "1s", bare_unit_s=API_UNIT_S
            ),
            method=str(data.get("method") or "GET").upper(),
            path=str(data.get("path") or "/"),
            headers={h["name"]: ", ".join(h.get("values", ())) for h in data.get("headers") or ()},
            protocol=str(data.get("protocol") or ""),
            tls_skip_verify=bool(data.get("tls_skip_verify")),
            tls_server_name=str(data.get("tls_server_name") or ""),
        )


@dataclass(frozen=True, slots=True)
class Port:
    """
    A port that Fly's edges listen on for a service, and what they do there.

    Args:
        port: Its number; the first one where ``end_port`` is set.
        handlers: What the edge speaks: ``http``, ``tls``, ``pg_tls``, ``proxy_proto``.
        force_https: Plain HTTP is sent on to https.
        http: What is done to HTTP.
        tls: How TLS is ended.
        proxy_proto_version: Version of the PROXY protocol; empty is the edge's own.
        end_port: Last port of a range.
    """

    port: int
    handlers: tuple[str, ...] = ()
    force_https: bool = False
    http: HttpOptions = field(default_factory=HttpOptions)
    tls: TlsOptions = field(default_factory=TlsOptions)
    proxy_proto_version: str = ""
    end_port: int | None = None

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = (
            {"port": self.port}
            if self.end_port is None
            else {"start_port": self.port, "end_port": self.end_port}
        )
        data["handlers"] = list(self.handlers)
        if self.force_https:
            data["force_https"] = True
        if http := self.http.to_json():
            data["http_options"] = http
        if tls := self.tls.to_json():
            data["tls_options"] = tls
        if self.proxy_proto_version:
            data["proxy_proto_options"] = {"version": self.proxy_proto_version}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Port:
        """Read the API's form; ValueError, KeyError or TypeError when it makes no sense."""
        single = data.get("port")
        end = data.get("end_port") if single is None else None
        return cls(
            int(data.get("start_port") or 1) if single is None else int(single),
            tuple(data.get("handlers") or ()),
            bool(data.get("force_https")),
            HttpOptions.from_json(data.get("http_options")),
            TlsOptions.from_json(data.get("tls_options")),
            str((data.get("proxy_proto_options") or {}).get("version") or ""),
            None if single is not None else int(end or _LAST_PORT),
        )


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How much one machine takes, and whether edges reuse connections (``requests``) or not."""

    type: str = "connections"
    soft_limit: int = 20
    hard_limit: int | None = None

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {"type": self.type, "soft_limit": self.soft_limit}
        return data | ({} if self.hard_limit is None else {"hard_limit": self.hard_limit})


@dataclass(frozen=True, slots=True)
class Service:
    """A port of the machine that the edges forward to."""

    internal_port: int
    protocol: str = "tcp"
    ports: tuple[Port, ...] = ()
    concurrency: Concurrency = Concurrency()
    checks: tuple[MachineCheck, ...] = ()
    autostop: str = "off"
    autostart: bool = True
    min_machines_running: int = 0

    @property
    def is_http(self) -> bool:
        """Tell whether an edge speaks HTTP for it on some port."""
        return any("http" in port.handlers for port in self.ports)

    def to_json(self) -> Json:
        """Return the API's form."""
        return {
            "protocol": self.protocol,
            "internal_port": self.internal_port,
            "ports": [port.to_json() for port in self.ports],
            "concurrency": self.concurrency.to_json(),
            "checks": [check.to_json() for check in self.checks],
            "autostop": self.autostop,
            "autostart": self.autostart,
            "min_machines_running": self.min_machines_running,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Service:
        """Read the API's form."""
        limits = data.get("concurrency") or {}
        autostop = data.get("autostop", "off")
        return cls(
            internal_port=int(data["internal_port"]),
            protocol=str(data.get("protocol", "tcp")),
            ports=tuple(
                Port.from_json(port)
                for port in data.get("ports") or ()
                if any(port.get(key) is not None for key in ("port", "start_port", "end_port"))
            ),
            concurrency=Concurrency(
                str(limits.get("type") or "connections"),
                int(limits.get("soft_limit") or 20),
                int(limits["hard_limit"]) if limits.get("hard_limit") else None,
            ),
            checks=tuple(MachineCheck.from_json(check) for check in data.get("checks") or ()),
            autostop=("stop" if autostop else "off") if isinstance(autostop, bool) else autostop,
            autostart=bool(data.get("autostart", True)),
            min_machines_running=int(data.get("min_machines_running") or 0),
        )
