"""
The sections of fly.toml, each read into what the Machines API wants of it.

Source: superfly/flyctl, internal/appconfig: patches.go (old forms), service.go, machines.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.fly.config_table import TomlTable, nearest, shown
from loadtest.fly.go_text import go_text
from loadtest.fly.machines import Guest, Metrics, Mount, Static
from loadtest.fly.process_groups import Scoped
from loadtest.fly.service_sections import DEFAULT_PORT
from loadtest.fly.values import (
    GPU_SIZES,
    VM_SIZES,
    parse_memory_mb,
    parse_vm_size,
    parse_volume_gb,
)

_DEFAULT_GPU_SIZE = "performance-8x"
_POLICIES = {"always": "always", "never": "no", "no": "no", "on-failure": "on-failure"}
_RETRIES = 10


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
