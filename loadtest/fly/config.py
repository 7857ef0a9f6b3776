"""
Reads fly.toml as flyctl reads it.

Old forms are read as flyctl reads them.  Keys that Fly does not know are ignored, as flyctl ignores
them, but told; docs/fly-toml.md has what becomes of every key.

Source: the configuration reference of Fly's documentation; superfly/flyctl, internal/appconfig.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.check_sections import read_checks
from loadtest.fly.config_notes import embedded_notes, idle_keys, unknown_keys
from loadtest.fly.config_sections import (
    read_build,
    read_env,
    read_files,
    read_guest,
    read_metrics,
    read_mounts,
    read_processes,
    read_restarts,
    read_start,
    read_statics,
    read_vms,
)
from loadtest.fly.config_table import TomlTable, shown
from loadtest.fly.machines import Guest
from loadtest.fly.process_groups import Scoped, default_group_of, owned, strangers
from loadtest.fly.service_sections import read_http_service, read_services
from loadtest.text import one_line

SIGNALS = (
    *("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"),
    *("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"),
)
_LONGEST_KILL_S, _LONGEST_KILL_PERFORMANCE_S = 300.0, 86_400.0


def read_app_config(path: Path) -> AppConfig:
    """
    Read a fly.toml.

    Raises:
        PlanError: The file is missing, is not TOML, or has values of no use; every fault is told.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(
            f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8, which TOML is"
        ) from error
    return parse_app_config(text, path)


def parse_app_config(text: str, path: Path) -> AppConfig:
    """
    Read the text of a fly.toml; ``path`` is where it came from and is named in errors.

    Raises:
        PlanError: It is not TOML, or has values of no use; every fault is told.
    """
    try:
        data = tomllib.loads(text)
        top = TomlTable(data)
        _refuse_long_numbers(top, data)
        config = None if top.faults else _read(top, path)
    except RecursionError as error:
        raise PlanError(f"{path}: nested too deeply; no fly.toml needs that") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not TOML: {one_line(str(error))}") from error
    except ValueError as error:  # a number of thousands of digits is none that Python reads
        raise PlanError(f"{path}: a number in it is beyond 64 bits; write it in quotes") from error
    if config is None or top.faults:
        raise PlanError(*(f"{path}: {fault}" for fault in dict.fromkeys(top.faults)))
    return config


def _read(top: TomlTable, path: Path) -> AppConfig:
    """Read section by section; what is wrong is in ``top.faults`` afterwards."""
    processes, start, build = read_processes(top), read_start(top), read_build(top)
    given = shlex.join(start.cmd)
    commands = {group: command or given for group, command in processes.items()}
    default = default_group_of(commands)
    http_services = owned(read_http_service(top), default)
    http_port = {
        group: service.value.internal_port for service in http_services for group in service.groups
    }
    services = owned(read_services(top), default)
    checks = read_checks(top, http_port, default)
    deploy = top.section("deploy")
    vms = read_vms(top)
    config = AppConfig(
        name=top.text("app"),
        primary_region=top.text("primary_region"),
        image=build.image,
        env=read_env(top),
        processes=commands,
        entrypoint=start.entrypoint,
        exec=start.exec,
        services=(*http_services, *services),
        checks=dict(zip(checks, owned(checks.values(), default), strict=True)),
        vms=tuple(vms),
        restarts=tuple(owned(read_restarts(top), default)),
        mounts=tuple(owned(read_mounts(top), default)),
        kill_signal=top.choice("kill_signal", SIGNALS, "SIGINT"),
        kill_timeout_s=_kill_timeout_s(top, vms),
        release_command=deploy.command("release_command"),
        seed_command=deploy.command("seed_command"),
        release_timeout_s=deploy.duration_s("release_command_timeout", 300.0),
        release_guest=(
            read_guest(deploy.section("release_command_vm"))
            if "release_command_vm" in deploy.data
            else None
        ),
        build=build,
        files=tuple(owned(read_files(top), default)),
        statics=tuple(read_statics(top)),
        metrics=tuple(owned(read_metrics(top), default)),
        swap_mb=top.whole("swap_size_mb", 0),
        unknown=tuple(unknown_keys(top.data)),
        embedded_notes=tuple(_sentences(embedded_notes(top.data, in_folder=False))),
        folder_notes=tuple(_sentences(embedded_notes(top.data, in_folder=True))),
        folder=path.parent,
    )
    grouped: tuple[tuple[str, Sequence[Scoped[Any]]], ...] = (
        ("http_service", http_services),
        ("services", services),
        ("restart", config.restarts),
    )
    for key, scoped in grouped:
        for group in strangers(scoped, commands):
            top.refuse(
                f"{key}.processes",
                f"group {shown(group)} is not defined; there are: {', '.join(commands)}",
            )
    return replace(config, notes=(*_sentences(idle_keys(top.data)), *_idle_sections(config)))


def _kill_timeout_s(top: TomlTable, vms: Sequence[Scoped[Guest]]) -> float:
    """Read how long a machine has to end; machines with CPUs of their own have up to a day."""
    old = top.section("experimental")
    holder = top if "kill_timeout" in top.data else old
    seconds = holder.duration_s("kill_timeout", 5.0)
    performance = any(vm.value.cpu_kind == "performance" for vm in vms)
    longest = _LONGEST_KILL_PERFORMANCE_S if performance else _LONGEST_KILL_S
    if seconds > longest:
        holder.refuse("kill_timeout", f"{seconds:g} is not within 0 to {longest:g} seconds")
    return seconds


def _sentences(told: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{key}: {sentence}" for key, sentence in told]


def _idle_sections(config: AppConfig) -> list[str]:
    """Return a sentence for each section whose groups are none of the file's."""
    sections: tuple[tuple[str, Iterable[Scoped[Any]]], ...] = (
        ("vm", config.vms),
        ("mounts", config.mounts),
        ("checks", config.checks.values()),
        ("files", config.files),
        ("metrics", config.metrics),
    )
    return [
        f"{key}.processes: group {shown(group)} is not defined, so this holds for no machine; "
        f"there are: {', '.join(config.processes)}"
        for key, scoped in sections
        for group in strangers(scoped, config.processes)
    ]


def _refuse_long_numbers(section: TomlTable, value: Any, key: str = "") -> None:
    """Refuse whole numbers that TOML's 64 bits do not hold."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_long_numbers(section, inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for inner in value:
            _refuse_long_numbers(section, inner, key)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        section.refuse(key, "a number beyond 64 bits; write it in quotes, or a smaller one")
