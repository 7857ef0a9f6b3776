"""
The vocabulary of Fly's Machines API: what is sent to create a machine, and what comes back.

Answers are read leniently: unknown fields are ignored and missing ones have defaults, because the
API grows.  What is sent is built from these types only.

Source: https://docs.machines.dev and the public client superfly/fly-go, machine_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.fly.port_options import HttpOptions, TlsOptions
from loadtest.fly.values import format_duration, parse_duration_s

Json = dict[str, object]

PLATFORM_VERSION_KEY = "fly_platform_version"
PROCESS_GROUP_KEY = "fly_process_group"
RUN_ID_KEY = "loadtest_run_id"
MADE_SECRET = "LOADTEST_MADE_BY"  # noqa: S105 - the name of a secret
"""Marks an app that a run made: apps have no metadata of their own, but secrets have names."""

EDGE_CONNECTIONS_KEY, FRESH = "loadtest_edge_connections", "fresh"
"""Asks an embedded world's edges for a new connection to the app with every request."""
RELEASE_GROUP = "fly_app_release_command"

_LAST_PORT = 65_535
_API_UNIT_S = 1e-9  # a bare number in the API is Go's time.Duration, which counts nanoseconds


@dataclass(frozen=True, slots=True)
class Guest:
    """CPU, memory and, where ``gpu_kind`` is not empty, graphics processors of a machine."""

    cpu_kind: str = "shared"
    cpus: int = 1
    memory_mb: int = 256
    gpu_kind: str = ""
    gpus: int = 0

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {"cpu_kind": self.cpu_kind, "cpus": self.cpus, "memory_mb": self.memory_mb}
        return data | ({"gpu_kind": self.gpu_kind, "gpus": self.gpus} if self.gpu_kind else {})


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
            interval_s=parse_duration_s(data.get("interval") or "15s", bare_unit_s=_API_UNIT_S),
            timeout_s=parse_duration_s(data.get("timeout") or "2s", bare_unit_s=_API_UNIT_S),
            grace_period_s=parse_duration_s(
                data.get("grace_period") or "1s", bare_unit_s=_API_UNIT_S
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


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume (its name until there is one, then its id), the folder it appears in, its size."""

    volume: str
    path: str
    size_gb: int = 1

    def to_json(self) -> Json:
        """Return the API's form."""
        return {"volume": self.volume, "path": self.path}


@dataclass(frozen=True, slots=True)
class GuestFile:
    """
    A file that is written into a machine before it starts.

    Args:
        path: Where, from the root of the machine's files.
        content: Its content in base64; empty where a secret has it.
        secret: Name of the secret that has the content in base64.
    """

    path: str
    content: str = ""
    secret: str = ""

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {"guest_path": self.path}
        return data | ({"secret_name": self.secret} if self.secret else {"raw_value": self.content})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GuestFile:
        """Read the API's form."""
        return cls(
            str(data.get("guest_path") or ""),
            str(data.get("raw_value") or ""),
            str(data.get("secret_name") or ""),
        )


@dataclass(frozen=True, slots=True)
class Static:
    """
    Files that edges serve themselves.

    Args:
        guest_path: Folder of the machine's image, or of a bucket.
        url_prefix: Requests whose path begins with it are answered from there.
        bucket: Tigris bucket that has the files; empty means the machine's image.
        index: Document for paths that name a folder.
    """

    guest_path: str
    url_prefix: str
    bucket: str = ""
    index: str = ""

    def to_json(self) -> Json:
        """Return the API's form."""
        return {
            "guest_path": self.guest_path,
            "url_prefix": self.url_prefix,
            "tigris_bucket": self.bucket,
            "index_document": self.index,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Static:
        """Read the API's form."""
        keys = ("guest_path", "url_prefix", "tigris_bucket", "index_document")
        return cls(*(str(data.get(key) or "") for key in keys))


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the platform collects a machine's own metrics."""

    port: int
    path: str
    https: bool = False

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {"port": self.port, "path": self.path}
        return data | ({"https": True} if self.https else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """Read the API's form."""
        return cls(int(data.get("port") or 0), str(data.get("path") or ""), bool(data.get("https")))


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """
    Everything that decides what a machine runs.

    Args:
        image: Image reference.
        env: Environment; a key may not begin with ``FLY_`` unless it is ``FLY_PROCESS_GROUP``.
        metadata: Labels that machines are found by.
        cmd: Command that replaces the image's, in parts; empty keeps the image's.
        entrypoint: The same for the entry point.
        exec_form: ``cmd`` is the whole of what is run; the image's entry point is not put before.
        guest: CPU and memory.
        services: What edges forward to the machine.
        checks: Health checks by name, beside those of the services.
        restart_policy: ``no``, ``always`` or ``on-failure``.
        max_retries: Restarts in a row before the machine is left stopped.
        stop_signal: Signal that asks the machine to end.
        stop_timeout_s: Seconds from that signal to SIGKILL.
        mounts: Volumes.
        auto_destroy: The machine is destroyed once it stops.
        files: Files written before it starts.
        statics: Files that edges serve themselves.
        metrics: Where its own metrics are collected, if anywhere.
        swap_mb: Swap space in MB.
    """

    image: str
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    exec_form: bool = False
    guest: Guest = Guest()
    services: tuple[Service, ...] = ()
    checks: Mapping[str, MachineCheck] = field(default_factory=dict)
    restart_policy: str = "on-failure"
    max_retries: int = 10
    stop_signal: str = "SIGINT"
    stop_timeout_s: float = 5.0
    mounts: tuple[Mount, ...] = ()
    auto_destroy: bool = False
    files: tuple[GuestFile, ...] = ()
    statics: tuple[Static, ...] = ()
    metrics: Metrics | None = None
    swap_mb: int = 0

    @property
    def group(self) -> str:
        """Return the process group, ``app`` where none is named."""
        return self.metadata.get(PROCESS_GROUP_KEY) or "app"

    @property
    def check_count(self) -> int:
        """Return how many health checks the machine has."""
        return len(self.checks) + sum(len(service.checks) for service in self.services)

    def to_json(self) -> Json:
        """Return the API's form."""
        init: Json = {"exec" if self.exec_form else "cmd": list(self.cmd)} if self.cmd else {}
        if self.entrypoint:
            init["entrypoint"] = list(self.entrypoint)
        if self.swap_mb:
            init["swap_size_mb"] = self.swap_mb
        restart: Json = {"policy": self.restart_policy}
        if self.restart_policy == "on-failure":
            restart["max_retries"] = self.max_retries
        data: Json = {
            "image": self.image,
            "env": dict(self.env),
            "metadata": dict(self.metadata),
            "init": init,
            "guest": self.guest.to_json(),
            "services": [service.to_json() for service in self.services],
            "checks": {name: check.to_json() for name, check in self.checks.items()},
            "restart": restart,
            "stop_config": {
                "signal": self.stop_signal,
                "timeout": format_duration(self.stop_timeout_s),
            },
            "auto_destroy": self.auto_destroy,
        }
        if self.mounts:
            data["mounts"] = [mount.to_json() for mount in self.mounts]
        if self.files:
            data["files"] = [file.to_json() for file in self.files]
        if self.statics:
            data["statics"] = [static.to_json() for static in self.statics]
        if self.metrics is not None:
            data["metrics"] = self.metrics.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MachineConfig:
        """Read the API's form; ValueError, KeyError or TypeError when it makes no sense."""
        init, guest = data.get("init") or {}, data.get("guest") or {}
        restart, stop = data.get("restart") or {}, data.get("stop_config") or {}
        return cls(
            image=str(data.get("image") or ""),
            env={str(k): str(v) for k, v in (data.get("env") or {}).items()},
            metadata={str(k): str(v) for k, v in (data.get("metadata") or {}).items()},
            cmd=_words(init.get("exec") or init.get("cmd")),
            entrypoint=() if init.get("exec") else _words(init.get("entrypoint")),
            exec_form=bool(init.get("exec")),
            guest=Guest(
                str(guest.get("cpu_kind") or "shared"),
                int(guest.get("cpus") or 1),
                int(guest.get("memory_mb") or 256),
                str(guest.get("gpu_kind") or ""),
                int(guest.get("gpus") or 0),
            ),
            services=tuple(Service.from_json(item) for item in data.get("services") or ()),
            checks={n: MachineCheck.from_json(c) for n, c in (data.get("checks") or {}).items()},
            restart_policy=str(restart.get("policy") or "on-failure"),
            max_retries=int(restart.get("max_retries") or 10),
            stop_signal=str(stop.get("signal") or "SIGINT"),
            stop_timeout_s=parse_duration_s(stop.get("timeout") or "5s", bare_unit_s=_API_UNIT_S),
            mounts=tuple(
                Mount(str(m.get("volume", "")), str(m.get("path", "")))
                for m in data.get("mounts") or ()
            ),
            auto_destroy=bool(data.get("auto_destroy")),
            files=tuple(GuestFile.from_json(item) for item in data.get("files") or ()),
            statics=tuple(Static.from_json(item) for item in data.get("statics") or ()),
            metrics=Metrics.from_json(data["metrics"]) if data.get("metrics") else None,
            swap_mb=int(init.get("swap_size_mb") or 0),
        )


def _words(value: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f"a command must be a list of words, not {value!r}")
    return tuple(str(word) for word in value or ())
