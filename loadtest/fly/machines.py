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

from loadtest.fly.services import MachineCheck, Service
from loadtest.fly.values import API_UNIT_S, Json, format_duration, parse_duration_s

PLATFORM_VERSION_KEY = "fly_platform_version"
PROCESS_GROUP_KEY = "fly_process_group"
RUN_ID_KEY = "loadtest_run_id"
MADE_SECRET = "LOADTEST_MADE_BY"  # noqa: S105 - the name of a secret
"""Marks an app that a run made: apps have no metadata of their own, but secrets have names."""

NEW_CONNECTIONS_KEY = "loadtest_new_connection_share"
"""Asks an embedded world's edges for a new connection to the app with a share of the requests."""
RELEASE_GROUP = "fly_app_release_command"


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
    def new_connection_share(self) -> float:
        """Return for what share of requests edges are to open a connection; 0 if not asked."""
        try:
            share = float(self.metadata.get(NEW_CONNECTIONS_KEY, "0"))
        except ValueError:  # anybody may write anything there
            return 0.0
        return share if 0 <= share <= 1 else 0.0

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
            stop_timeout_s=parse_duration_s(stop.get("timeout") or "5s", bare_unit_s=API_UNIT_S),
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
