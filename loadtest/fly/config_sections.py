"""
The sections of fly.toml, each read into what the Machines API wants of it.

Source: superfly/flyctl, internal/appconfig: patches.go (old forms), service.go, machines.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from loadtest.fly.config_table import TomlTable, nearest, shown
from loadtest.fly.go_text import go_text
from loadtest.fly.machines import (
    Concurrency,
    Guest,
    MachineCheck,
    Metrics,
    Mount,
    Port,
    Service,
    Static,
)
from loadtest.fly.port_options import HeaderValue, HttpOptions, ReplayCache, TlsOptions
from loadtest.fly.values import (
    GPU_SIZES,
    VM_SIZES,
    parse_memory_mb,
    parse_vm_size,
    parse_volume_gb,
)

T = TypeVar("T")

DEFAULT_PORT = 8_080
_DEFAULT_SOFT_LIMIT = 20
_DEFAULT_GPU_SIZE = "performance-8x"
_CHECK = MachineCheck()
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SHORTEST_CHECK_S = 1.0
_SHORTEST_NAMED_S, _LONGEST_NAMED_S = 2.0, 60.0
_POLICIES = {"always": "always", "never": "no", "no": "no", "on-failure": "on-failure"}
_RETRIES = 10


@dataclass(frozen=True, slots=True)
class Scoped(Generic[T]):
    """A setting and the process groups it holds for; no groups means all of them."""

    value: T
    groups: tuple[str, ...] = ()

    def holds_for(self, group: str) -> bool:
        """Tell whether the setting applies to a process group."""
        return not self.groups or group in self.groups


@dataclass(frozen=True, slots=True)
class Build:
    """
    How an app's image comes to be, as ``[build]`` says.

    Args:
        image: Image that is taken as it is; empty when one is built.
        dockerfile: Its path, from the folder of fly.toml; empty means ``Dockerfile``.
        ignorefile: In place of ``.dockerignore``.
        target: Stage of the Dockerfile that is built; empty means the last.
        args: Build arguments.
        builder: Image that builds from source (buildpacks).
        buildpacks: What that image is told to use.
        builtin: One of Fly's own Dockerfiles.
        compose: File of a composition of containers.
    """

    image: str = ""
    dockerfile: str = ""
    ignorefile: str = ""
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    builder: str = ""
    buildpacks: tuple[str, ...] = ()
    builtin: str = ""
    compose: str = ""


@dataclass(frozen=True, slots=True)
class AppFile:
    """
    A file that is written into every machine; one of the last three says what is in it.

    Args:
        path: Where, from the root of the machine's files.
        local_path: File beside fly.toml that has the content.
        secret: Name of the secret that has it in base64.
        text: The content itself.
    """

    path: str
    local_path: str = ""
    secret: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """What ``[experimental]`` puts in place of the image's own entry point and command."""

    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()


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
    checks = [_check(check, "http") for check in section.sections("checks")]
    return [_service(section, ports, checks)]


def read_services(top: TomlTable) -> list[Scoped[Service]]:
    """Read every ``[[services]]``; an empty one is no service."""
    found = []
    for section in top.sections("services"):
        if not section.data:
            continue
        ports = [_port(port) for port in section.sections("ports")]
        checks = [_check(check, "tcp") for check in section.sections("tcp_checks")]
        checks += [_check(check, "http") for check in section.sections("http_checks")]
        found.append(_service(section, tuple(port for port in ports if port is not None), checks))
    return found


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
        check = _check(section, kind, named=True)
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


def read_vms(top: TomlTable) -> list[Scoped[Guest]]:
    """Read every ``[[vm]]``, ``[[compute]]`` of old."""
    return [
        Scoped(read_guest(section), section.names("processes"))
        for section in top.sections("compute", "computes", "vm")
    ]


def read_guest(section: TomlTable) -> Guest:
    """Read the size of a machine: a preset, whose parts may be replaced one by one."""
    gpu_kind = section.text("gpu_kind")
    size = section.text("size") or (_DEFAULT_GPU_SIZE if gpu_kind else "shared-cpu-1x")
    gpu_kind = gpu_kind or GPU_SIZES.get(size, "")
    if size not in VM_SIZES:
        section.refuse(
            "size", f"{shown(size)} is not one of {', '.join(VM_SIZES)}{nearest(size, VM_SIZES)}"
        )
        size = "shared-cpu-1x"
    cpu_kind, cpus, memory_mb = parse_vm_size(size)
    if text := section.loose_text("memory"):
        try:
            memory_mb = parse_memory_mb(text)
        except ValueError:
            memory_mb = 0
        if not 0 < memory_mb < 2**31:
            section.refuse("memory", f'{shown(text)} is no size; write "512mb" or "1gb"')
    return Guest(
        section.choice("cpu_kind", ("shared", "performance"), cpu_kind),
        section.whole("cpus", 0) or cpus,
        section.whole("memory_mb", 0) or memory_mb,
        gpu_kind,
        section.whole("gpus", 0) or int(bool(gpu_kind)),
    )


def read_restarts(top: TomlTable) -> list[Scoped[tuple[str, int]]]:
    """Read every ``[[restart]]`` as (policy, retries); flyctl writes ``never`` for ``no``."""
    found = []
    for section in top.sections("restart"):
        policy = section.text("policy")
        if policy not in _POLICIES:
            told = shown(section.data["policy"]) if "policy" in section.data else "missing"
            section.refuse("policy", f"{told}; what is allowed is always, never or on-failure")
        retries = section.whole("retries", 0) or _RETRIES
        found.append(Scoped((_POLICIES.get(policy, "no"), retries), section.names("processes")))
    return found


def read_mounts(top: TomlTable) -> list[Scoped[Mount]]:
    """Read every ``[[mounts]]``, ``[mount]`` of old; an empty one is no volume."""
    found = []
    for section in top.sections("mount", "mounts"):
        if not section.data:
            continue
        for key, example in (("source", "data"), ("destination", "/data")):
            if not section.data.get(key):
                section.refuse(key, f'missing; write {key} = "{example}"')
        size_gb = 1
        if text := section.loose_text("initial_size"):
            try:
                size_gb = parse_volume_gb(text)
            except ValueError:
                size_gb = 0
            if not 0 < size_gb < 2**31:
                section.refuse(
                    "initial_size", f'{shown(text)} is no size of 1 GB or more; write "10gb"'
                )
        mount = Mount(section.text("source"), section.text("destination"), size_gb)
        found.append(Scoped(mount, section.names("processes")))
    return found


def read_files(top: TomlTable) -> list[Scoped[AppFile]]:
    """Read every ``[[files]]``."""
    found = []
    for section in top.sections("files"):
        path = section.text("guest_path")
        if not path.startswith("/"):
            told = shown(section.data["guest_path"]) if "guest_path" in section.data else "missing"
            section.refuse("guest_path", f"{told}; write a path from the root, such as /etc/a.conf")
        content = section.data.get("raw_value", "")
        if not isinstance(content, str):
            section.refuse("raw_value", f"{shown(content)} is not text; write it in quotes")
            content = ""
        file = AppFile(path, section.text("local_path"), section.text("secret_name"), content)
        found.append(Scoped(file, section.names("processes")))
    return found


def read_statics(top: TomlTable) -> list[Static]:
    """Read every ``[[statics]]``."""
    found = []
    for section in top.sections("statics"):
        for key, example in (("guest_path", "/app/public"), ("url_prefix", "/static")):
            if not section.data.get(key):
                section.refuse(key, f'missing; write {key} = "{example}"')
        keys = ("guest_path", "url_prefix", "tigris_bucket", "index_document")
        found.append(Static(*(section.text(key) for key in keys)))
    return found


def read_metrics(top: TomlTable) -> list[Scoped[Metrics]]:
    """Read every ``[[metrics]]``, or what ``[experimental]`` said of them once."""
    old = top.section("experimental")
    if "metrics" not in top.data and ("metrics_port" in old.data or "metrics_path" in old.data):
        return [Scoped(Metrics(old.port("metrics_port", DEFAULT_PORT), old.text("metrics_path")))]
    return [
        Scoped(
            Metrics(
                section.port("port", DEFAULT_PORT),
                section.text("path"),
                section.flag("https"),
            ),
            section.names("processes"),
        )
        for section in top.sections("metric", "metrics")
        if section.data
    ]


def read_build(top: TomlTable) -> Build:
    """Read ``[build]``."""
    section = top.section("build")
    return Build(
        image=section.text("image"),
        dockerfile=section.text("dockerfile"),
        ignorefile=section.text("ignorefile"),
        target=section.text("build-target") or section.text("build_target"),
        args=section.texts("args"),
        builder=section.text("builder"),
        buildpacks=section.names("buildpacks"),
        builtin=section.text("builtin"),
        compose=section.section("compose").text("file"),
    )


def read_start(top: TomlTable) -> Start:
    """Read the commands of ``[experimental]``."""
    section = top.section("experimental")
    return Start(section.words("cmd"), section.words("entrypoint"), section.words("exec"))


def read_env(top: TomlTable) -> dict[str, str]:
    """Read ``[env]``; of several ``[[env]]`` the last one that has a name gives its value."""
    env: dict[str, str] = {}
    for section in top.sections("env"):
        for name in section.data:
            if name.startswith("FLY_"):
                section.refuse(
                    name,
                    "names beginning with FLY_ belong to the platform; choose another name",
                )
            elif not name or "=" in name or "\0" in name:
                section.refuse(name, "no name of a variable; leave out = and zero bytes")
            else:
                env[name] = _env_value(section, name)
    return env


def read_processes(top: TomlTable) -> dict[str, str]:
    """Read ``[processes]``, or the list of 2022; none of them means the group ``app``."""
    value = top.data.get("processes")
    commands: dict[str, str] = {}
    if isinstance(value, list):
        for section in top.sections("processes"):
            if "name" in section.data:
                commands[section.loose_text("name")] = section.command("command")
    else:
        section = top.section("processes")
        commands = {name: section.command(name) for name in section.data}
    return commands or {"app": ""}


def _env_value(section: TomlTable, name: str) -> str:
    value = section.data[name]
    text = go_text(value)
    if "\0" in text:
        section.refuse(name, "its value has a zero byte in it; leave that out")
        return ""
    return text


def _service(
    section: TomlTable, ports: tuple[Port, ...], checks: list[MachineCheck]
) -> Scoped[Service]:
    service = Service(
        internal_port=section.port("internal_port", DEFAULT_PORT),
        protocol=section.text("protocol", "tcp") or "tcp",
        ports=ports,
        concurrency=_concurrency(section),
        # A service without checks gets the one that flyctl gives it.
        checks=tuple(checks) or (_CHECK,),
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


def _check(section: TomlTable, kind: str, *, named: bool = False) -> MachineCheck:
    """
    Read a check.

    Args:
        section: Its table.
        kind: ``http`` or ``tcp``.
        named: It is one of the machine's, whose times flyctl bounds; Fly itself bends those of a
            service's, so that a time of zero becomes its shortest.
    """
    http = kind == "http"
    interval_s = section.duration_s("interval", _CHECK.interval_s, 1e-3)
    timeout_s = section.duration_s("timeout", _CHECK.timeout_s, 1e-3)
    if named and interval_s < _SHORTEST_NAMED_S:
        section.refuse("interval", f"{shown(section.data['interval'])} is short of 2s; write 2s")
    if named and timeout_s > _LONGEST_NAMED_S:
        section.refuse("timeout", f"{shown(section.data['timeout'])} is over 60s; write 60s")
    return MachineCheck(
        type=kind,
        interval_s=interval_s or _SHORTEST_CHECK_S,
        timeout_s=timeout_s or _SHORTEST_CHECK_S,
        grace_period_s=section.duration_s("grace_period", _CHECK.grace_period_s, 1e-3),
        method=_request_word(section, "method", _CHECK.method).upper() if http else _CHECK.method,
        path=_request_word(section, "path", _CHECK.path) if http else _CHECK.path,
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
