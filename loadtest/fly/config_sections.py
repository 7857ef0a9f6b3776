"""The sections of fly.toml, each read into what the Machines API wants of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from loadtest.fly.machines import Concurrency, Guest, MachineCheck, Mount, Port, Service
from loadtest.fly.values import parse_duration_s, parse_memory_mb, parse_vm_size

T = TypeVar("T")
Table = Mapping[str, Any]


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOP_KEYS = _keys(
    """
    app primary_region kill_signal kill_timeout swap_size_mb console_command host_dedication_id
    machine_config container build deploy env processes http_service services mounts mount vm
    restart checks metrics statics files experimental
    """
)
_SERVICE_KEYS = _keys(
    """
    protocol internal_port processes auto_stop_machines auto_start_machines min_machines_running
    concurrency ports tcp_checks http_checks script_checks machine_checks checks http_options
    tls_options force_https
    """
)
_CHECK_KEYS = _keys(
    """
    type port interval timeout grace_period method path protocol headers kind processes
    tls_skip_verify tls_server_name
    """
)
_DEPLOY_KEYS = _keys(
    """
    strategy max_unavailable wait_timeout release_command release_command_timeout
    release_command_vm seed_command
    """
)
_EXPERIMENTAL_KEYS = _keys(
    """
    cmd entrypoint exec auto_rollback enable_consul enable_etcd lazy_load_images attached
    machine_config kill_timeout metrics_port metrics_path
    """
)


@dataclass(frozen=True, slots=True)
class Scoped(Generic[T]):
    """A setting and the process groups it holds for; no groups means all of them."""

    value: T
    groups: tuple[str, ...] = ()

    def holds_for(self, group: str) -> bool:
        """Tell whether the setting applies to a process group."""
        return not self.groups or group in self.groups


def tables(data: Table, *keys: str) -> list[Table]:
    """Return a section as a list of tables, whether it was written ``[x]`` or ``[[x]]``."""
    found: list[Table] = []
    for key in keys:
        value = data.get(key) or []
        found += [value] if isinstance(value, Mapping) else list(value)
    return found


def read_http_service(data: Table | None) -> list[Scoped[Service]]:
    """Read ``[http_service]``, which stands for ports 80 [http] and 443 [http, tls]."""
    if not data:
        return []
    service = Service(
        internal_port=_port(data.get("internal_port", 8080), "internal_port"),
        ports=(
            Port(80, ("http",), bool(data.get("force_https"))),
            Port(443, ("http", "tls")),
        ),
        concurrency=_concurrency(data.get("concurrency")),
        checks=_or_default([_check(check, "http") for check in tables(data, "checks")]),
        autostop=_autostop(data.get("auto_stop_machines", "off")),
        autostart=bool(data.get("auto_start_machines", True)),
        min_machines_running=int(data.get("min_machines_running", 0)),
    )
    return [Scoped(service, tuple(data.get("processes") or ()))]


def read_services(sections: Sequence[Table]) -> list[Scoped[Service]]:
    """Read every ``[[services]]``."""
    return [
        Scoped(_service(section), tuple(section.get("processes") or ())) for section in sections
    ]


def read_checks(section: Table) -> dict[str, Scoped[MachineCheck]]:
    """Read ``[checks.<name>]``; these tell about the machine and do not gate routing on Fly."""
    return {
        str(name): Scoped(_check(check, check.get("type", "tcp")), _groups(check))
        for name, check in section.items()
    }


def read_vms(sections: Sequence[Table]) -> list[Scoped[Guest]]:
    """Read every ``[[vm]]``: a preset, or kind, count and memory one by one."""
    found = []
    for section in sections:
        kind, cpus, memory = parse_vm_size(section.get("size", "shared-cpu-1x"))
        guest = Guest(
            str(section.get("cpu_kind", kind)),
            int(section.get("cpus", cpus)),
            parse_memory_mb(section.get("memory", section.get("memory_mb", memory))),
        )
        found.append(Scoped(guest, _groups(section)))
    return found


def read_restarts(sections: Sequence[Table]) -> list[Scoped[tuple[str, int]]]:
    """Read every ``[[restart]]`` as (policy, retries); flyctl writes ``never`` for ``no``."""
    policies = {"always": "always", "never": "no", "no": "no", "on-failure": "on-failure"}
    found = []
    for section in sections:
        policy = str(section.get("policy", "on-failure"))
        if policy not in policies:
            raise ValueError(f"policy {policy!r} is not one of always, never, on-failure")
        found.append(Scoped((policies[policy], int(section.get("retries", 10))), _groups(section)))
    return found


def read_mounts(sections: Sequence[Table]) -> list[Scoped[Mount]]:
    """Read every ``[[mounts]]``."""
    return [Scoped(_mount(section), _groups(section)) for section in sections]


def unknown_keys(data: Table) -> Iterator[str]:
    """Yield the dotted names of keys that Fly does not know, in file order."""
    yield from (key for key in data if key not in _TOP_KEYS)
    known = {
        "deploy": _DEPLOY_KEYS,
        "experimental": _EXPERIMENTAL_KEYS,
        "http_service": _SERVICE_KEYS,
        "services": _SERVICE_KEYS,
    }
    for section, keys in known.items():
        for table in tables(data, section):
            yield from (f"{section}.{key}" for key in table if key not in keys)
            for checks in ("checks", "tcp_checks", "http_checks"):
                for check in tables(table, checks):
                    yield from (f"{section}.{checks}.{k}" for k in check if k not in _CHECK_KEYS)
    for name, check in (data.get("checks") or {}).items():
        yield from (f"checks.{name}.{key}" for key in check if key not in _CHECK_KEYS)


def _mount(section: Table) -> Mount:
    size_mb = parse_memory_mb(section.get("initial_size", "1gb"))
    return Mount(
        str(section["source"]), str(section["destination"]), max(1, math.ceil(size_mb / 1_024))
    )


def _service(section: Table) -> Service:
    checks = [_check(check, "tcp") for check in tables(section, "tcp_checks")]
    checks += [_check(check, "http") for check in tables(section, "http_checks")]
    ports = tuple(
        Port(
            _port(port["port"], "ports.port"),
            tuple(port.get("handlers") or ()),
            bool(port.get("force_https")),
        )
        for port in tables(section, "ports")
        if "port" in port
    )
    return Service(
        internal_port=_port(section["internal_port"], "internal_port"),
        protocol=str(section.get("protocol", "tcp")),
        ports=ports,
        concurrency=_concurrency(section.get("concurrency")),
        checks=_or_default(checks),
        autostop=_autostop(section.get("auto_stop_machines", "off")),
        autostart=bool(section.get("auto_start_machines", True)),
        min_machines_running=int(section.get("min_machines_running", 0)),
    )


def _or_default(checks: list[MachineCheck]) -> tuple[MachineCheck, ...]:
    """Give a service without checks the one that flyctl gives it."""
    return tuple(checks) or (MachineCheck("tcp", None, 15.0, 2.0, 1.0),)


def _check(section: Table, kind: str) -> MachineCheck:
    if kind not in ("http", "tcp"):
        raise ValueError(f"check type {kind!r} is not one of http, tcp")
    headers = section.get("headers") or {}
    if not isinstance(headers, Mapping):
        headers = {entry["name"]: entry["value"] for entry in headers}
    return MachineCheck(
        type=kind,
        port=_port(section["port"], "port") if "port" in section else None,
        interval_s=_milliseconds(section, "interval", 15.0),
        timeout_s=_milliseconds(section, "timeout", 2.0),
        grace_period_s=_milliseconds(section, "grace_period", 1.0),
        method=str(section.get("method", "GET")).upper(),
        path=str(section.get("path", "/")),
        headers={str(name): str(value) for name, value in headers.items()},
    )


def _milliseconds(section: Table, key: str, default_s: float) -> float:
    """Read an interval of a check, whose bare numbers are milliseconds."""
    if key not in section:
        return default_s
    return parse_duration_s(section[key], bare_unit_s=1e-3)


def _concurrency(section: Table | None) -> Concurrency:
    if not section:
        return Concurrency()
    kind = str(section.get("type", "connections"))
    if kind not in ("connections", "requests"):
        raise ValueError(f"concurrency.type {kind!r} is not one of connections, requests")
    hard = section.get("hard_limit")
    return Concurrency(
        kind, int(section.get("soft_limit", 20)), None if hard is None else int(hard)
    )


def _autostop(value: object) -> str:
    if isinstance(value, bool):
        return "stop" if value else "off"
    if value not in ("off", "stop", "suspend"):
        raise ValueError(f"auto_stop_machines {value!r} is not one of off, stop, suspend")
    return str(value)


def _port(value: object, key: str) -> int:
    number = int(str(value)) if str(value).isdigit() else 0
    if not 0 < number < 65_536:
        raise ValueError(f"{key} {value!r} is not a port, 1 to 65535")
    return number


def _groups(section: Table) -> tuple[str, ...]:
    return tuple(section.get("processes") or ())
