"""
Health checks of fly.toml, of services and of machines, read into those of the Machines API.

Source: superfly/flyctl, internal/appconfig: patches.go (old forms), service.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from loadtest.fly.config_table import TomlTable, shown
from loadtest.fly.process_groups import Scoped
from loadtest.fly.services import MachineCheck

USUAL_CHECK = MachineCheck()
"""What flyctl gives a service that names no check."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SHORTEST_CHECK_S = 1.0
_SHORTEST_NAMED_S, _LONGEST_NAMED_S = 2.0, 60.0


def read_checks(
    top: TomlTable, http_port: Mapping[str, int], default_group: str
) -> dict[str, Scoped[MachineCheck]]:
    """
    Read ``[checks.<name>]``; these tell about the machine and do not gate routing on Fly.

    Args:
        top: The whole file.
        http_port: Port of the http service by process group, for checks that name none.
        default_group: Group of a check that names none.
    """
    found: dict[str, Scoped[MachineCheck]] = {}
    for name, section in _named_checks(top):
        kind = section.text("type")
        if kind not in ("http", "tcp"):
            told = shown(section.data["type"]) if "type" in section.data else "missing"
            section.refuse("type", f"{told}; what is allowed is http or tcp")
            continue
        groups = section.names("processes")
        check = read_check(section, kind, named=True)
        port = section.whole_or_none("port", 1, 65_535)
        if "port" not in section.data:
            port = _port_of(http_port, groups or (default_group,))
            if port is None:
                section.refuse(
                    "port",
                    "missing, and its process group has no [http_service] to take it from; "
                    "write port = 8080",
                )
        found[name] = Scoped(replace(check, port=port), groups)
    return found


def read_check(section: TomlTable, kind: str, *, named: bool = False) -> MachineCheck:
    """
    Read a check.

    Args:
        section: Its table.
        kind: ``http`` or ``tcp``.
        named: It is one of the machine's, whose times flyctl bounds; Fly itself bends those of a
            service's, so that a time of zero becomes its shortest.
    """
    http = kind == "http"
    interval_s = section.duration_s("interval", USUAL_CHECK.interval_s, 1e-3)
    timeout_s = section.duration_s("timeout", USUAL_CHECK.timeout_s, 1e-3)
    if named and interval_s < _SHORTEST_NAMED_S:
        section.refuse("interval", f"{shown(section.data['interval'])} is short of 2s; write 2s")
    if named and timeout_s > _LONGEST_NAMED_S:
        section.refuse("timeout", f"{shown(section.data['timeout'])} is over 60s; write 60s")
    return MachineCheck(
        type=kind,
        interval_s=interval_s or _SHORTEST_CHECK_S,
        timeout_s=timeout_s or _SHORTEST_CHECK_S,
        grace_period_s=section.duration_s("grace_period", USUAL_CHECK.grace_period_s, 1e-3),
        method=_request_word(section, "method", USUAL_CHECK.method).upper()
        if http
        else USUAL_CHECK.method,
        path=_request_word(section, "path", USUAL_CHECK.path) if http else USUAL_CHECK.path,
        headers=_check_headers(section) if http else {},
        protocol=section.text("protocol") if http else "",
        tls_skip_verify=section.flag("tls_skip_verify") if http else False,
        tls_server_name=section.text("tls_server_name") if http else "",
    )


def _request_word(section: TomlTable, key: str, default: str) -> str:
    """Read a part of a request's first line."""
    value = section.text(key) or default
    if value.isascii() and " " not in value:
        return value
    section.refuse(
        key, f"{shown(value)} cannot stand in a request; write %20 for a space and so on"
    )
    return default


def _check_headers(section: TomlTable) -> dict[str, str]:
    """Read the headers of a check: a table, or of old a list of names and values."""
    if isinstance(section.data.get("headers"), list):
        headers = section.sections("headers")
        found = {header.loose_text("name"): header.loose_text("value") for header in headers}
    else:
        found = section.texts("headers")
    for name, value in found.items():
        if not _HEADER_NAME.fullmatch(name):
            section.refuse("headers", f'{shown(name)} is no name of a header; write such as "Host"')
        elif not value.isascii():
            section.refuse("headers", f"{shown(value)} of {name} is not ASCII, as headers are")
    return found


def _named_checks(top: TomlTable) -> list[tuple[str, TomlTable]]:
    """Return the checks by name, whether they were written ``[checks.name]`` or ``[[checks]]``."""
    if isinstance(top.data.get("checks"), list):
        named = [(section.text("name"), section) for section in top.sections("checks")]
        for name, section in named:
            if not name:
                section.refuse("name", 'missing; write name = "alive"')
        return named
    checks = top.section("checks")
    return [(name, checks.section(name)) for name in checks.data]


def _port_of(http_port: Mapping[str, int], groups: tuple[str, ...]) -> int | None:
    """Return the port that the http service has in every one of some groups, if it has."""
    ports = {http_port.get(group) for group in groups}
    return ports.pop() if len(ports) == 1 else None
