"""
``[http_service]`` and ``[[services]]`` of fly.toml, read into services of the Machines API.

Source: superfly/flyctl, internal/appconfig: patches.go (old forms), service.go.
"""

from __future__ import annotations

from typing import Any

from loadtest.fly.check_sections import USUAL_CHECK, read_check
from loadtest.fly.config_table import TomlTable, shown
from loadtest.fly.port_options import HeaderValue, HttpOptions, ReplayCache, TlsOptions
from loadtest.fly.process_groups import Scoped
from loadtest.fly.services import Concurrency, MachineCheck, Port, Service

DEFAULT_PORT = 8_080
_DEFAULT_SOFT_LIMIT = 20


def read_http_service(top: TomlTable) -> list[Scoped[Service]]:
    """Read ``[http_service]``, which stands for ports 80 [http] and 443 [http, tls]."""
    if "http_service" not in top.data:
        return []
    section = top.section("http_service")
    http, tls = _http_options(section), _tls_options(section)
    ports = (
        Port(80, ("http",), section.flag("force_https"), http),
        Port(443, ("http", "tls"), http=http, tls=tls),
    )
    checks = [read_check(check, "http") for check in section.sections("checks")]
    return [_service(section, ports, checks)]


def read_services(top: TomlTable) -> list[Scoped[Service]]:
    """Read every ``[[services]]``; an empty one is no service."""
    found = []
    for section in top.sections("services"):
        if not section.data:
            continue
        ports = [_port(port) for port in section.sections("ports")]
        checks = [read_check(check, "tcp") for check in section.sections("tcp_checks")]
        checks += [read_check(check, "http") for check in section.sections("http_checks")]
        found.append(_service(section, tuple(port for port in ports if port is not None), checks))
    return found


def _service(
    section: TomlTable, ports: tuple[Port, ...], checks: list[MachineCheck]
) -> Scoped[Service]:
    service = Service(
        internal_port=section.port("internal_port", DEFAULT_PORT),
        protocol=section.text("protocol", "tcp") or "tcp",
        ports=ports,
        concurrency=_concurrency(section),
        # A service without checks gets the one that flyctl gives it.
        checks=tuple(checks) or (USUAL_CHECK,),
        autostop=_autostop(section),
        autostart=section.flag("auto_start_machines", default=True),
        min_machines_running=section.whole("min_machines_running", 0),
    )
    return Scoped(service, section.names("processes"))


def _port(section: TomlTable) -> Port | None:
    """Read one of a service's ports; a range where it names the ends of one and no single port."""
    single = section.whole_or_none("port", 1, 65_535)
    first = section.whole_or_none("start_port", 1, 65_535)
    last = section.whole_or_none("end_port", 1, 65_535)
    if single is None and first is None and last is None:
        return None
    return Port(
        single or first or 1,
        section.names("handlers"),
        section.flag("force_https"),
        _http_options(section),
        _tls_options(section),
        section.section("proxy_proto_options").text("version"),
        None if single is not None else last or 65_535,
    )


def _http_options(section: TomlTable) -> HttpOptions:
    options = section.section("http_options")
    response = options.section("response")
    headers = response.section("headers")
    return HttpOptions(
        compress=_flag_or_none(options, "compress"),
        pristine=_flag_or_none(response, "pristine"),
        response_headers={
            name: value for name in headers.data if (value := _header(headers, name)) is not None
        },
        h2_backend=_flag_or_none(options, "h2_backend"),
        idle_timeout_s=options.whole_or_none("idle_timeout"),
        headers_read_timeout_s=options.whole_or_none("headers_read_timeout"),
        replay_cache=tuple(
            ReplayCache(
                cache.text("path_prefix", "/"),
                cache.whole("ttl_seconds", 0),
                cache.choice("type", ("cookie", "header"), "cookie"),
                cache.text("name"),
                cache.flag("allow_bypass"),
            )
            for cache in options.sections("replay_cache")
        ),
    )


def _header(headers: TomlTable, name: str) -> HeaderValue | None:
    """Read a header of every answer: text, several texts, or false to take it away."""
    value = headers.data[name]
    if isinstance(value, list):
        return headers.names(name)
    if value is False:
        return False
    return headers.text(name) if isinstance(value, str) else headers.loose_text(name)


def _tls_options(section: TomlTable) -> TlsOptions:
    options = section.section("tls_options")
    return TlsOptions(
        options.names("alpn"),
        options.names("versions"),
        _flag_or_none(options, "default_self_signed"),
    )


def _flag_or_none(section: TomlTable, key: str) -> bool | None:
    return section.flag(key) if key in section.data else None


def _concurrency(section: TomlTable) -> Concurrency:
    """Read how much one machine takes; ``"12,23"`` is the form of 2020."""
    value = section.data.get("concurrency")
    if isinstance(value, str):
        soft, comma, hard = value.partition(",")
        parts = {"type": "requests", "soft_limit": soft.strip(), "hard_limit": hard.strip()}
        if not comma:
            section.refuse(
                "concurrency",
                f"{shown(value)} is not a soft and a hard limit; write a table "
                f"[{section.key('concurrency')}] with soft_limit and hard_limit",
            )
            return Concurrency()
        limits = TomlTable(parts, section.key("concurrency"), section.faults)
    else:
        limits = section.section("concurrency")
    kind = limits.choice("type", ("connections", "requests"), "connections")
    hard_limit = limits.whole("hard_limit", 0) or None
    soft_limit = limits.whole("soft_limit", 0) or min(
        _DEFAULT_SOFT_LIMIT, hard_limit or _DEFAULT_SOFT_LIMIT
    )
    return Concurrency(kind, soft_limit, hard_limit)


def _autostop(section: TomlTable) -> str:
    value: Any = section.data.get("auto_stop_machines")
    if isinstance(value, bool) or value in ("true", "false"):
        return "stop" if value in (True, "true") else "off"
    return section.choice("auto_stop_machines", ("off", "stop", "suspend"), "off")
