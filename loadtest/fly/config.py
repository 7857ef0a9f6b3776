"""
Reads fly.toml and turns it into machine configs, as flyctl does when it deploys.

Old forms are read as flyctl reads them.  Keys that Fly does not know are ignored, as flyctl ignores
them, but told; docs/fly-toml.md has what becomes of every key.

Source: the configuration reference of Fly's documentation; superfly/flyctl, internal/appconfig.
"""

from __future__ import annotations

import base64
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from loadtest.errors import PlanError
from loadtest.fly.config_keys import embedded_notes, idle_keys, unknown_keys
from loadtest.fly.config_sections import (
    AppFile,
    Build,
    Scoped,
    read_build,
    read_checks,
    read_env,
    read_files,
    read_guest,
    read_http_service,
    read_metrics,
    read_mounts,
    read_processes,
    read_restarts,
    read_services,
    read_start,
    read_statics,
    read_vms,
)
from loadtest.fly.config_table import TomlTable, shown
from loadtest.fly.go_text import split_command
from loadtest.fly.machines import (
    PLATFORM_VERSION_KEY,
    PROCESS_GROUP_KEY,
    RELEASE_GROUP,
    Guest,
    GuestFile,
    MachineCheck,
    MachineConfig,
    Metrics,
    Mount,
    Service,
    Static,
)
from loadtest.text import one_line

T = TypeVar("T")

SIGNALS = (
    *("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"),
    *("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"),
)
_LONGEST_KILL_S, _LONGEST_KILL_PERFORMANCE_S = 300.0, 86_400.0
_DEFAULT_GROUP = "app"
_MOST_FILE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class AppConfig:
    """
    One fly.toml.

    Args:
        name: The app's name.
        primary_region: Where writes go; empty when the file leaves it open.
        image: Image that the file names; empty when it is built or given at deployment.
        env: Environment of every machine.
        processes: Start command by process group; an empty command is the image's own.
        entrypoint: What is put before the command in place of the image's entry point.
        exec: The whole of what every machine runs; commands and entry points are left out.
        services: What the edges forward to, with the groups it holds for.
        checks: Health checks by name, with the groups they hold for.
        vms: Sizes, with the groups they hold for.
        restarts: Restart policy and retries, with the groups they hold for.
        mounts: Volumes, with the groups they hold for.
        kill_signal: Signal that asks a machine to end.
        kill_timeout_s: Seconds from that signal to SIGKILL.
        release_command: Command run once before machines are replaced.
        seed_command: Command run after that one where the app is deployed first, as in every run.
        release_timeout_s: Longest time it may take.
        release_guest: Size of its machine; None means that of the default group's.
        build: How the image comes to be.
        files: Files written into machines, with the groups they hold for.
        statics: Files that edges serve themselves.
        metrics: Where the app's own metrics are collected, with the groups it holds for.
        swap_mb: Swap space of a machine in MB.
        unknown: Keys that Fly does not know, dotted.
        notes: Sentences about keys that do nothing, and about sections that hold for no machine.
        embedded_notes: Sentences about what a visitor gets on Fly, but not in the embedded world.
        folder_notes: The same of an app that runs in its folder there, not as its image.
        folder: Folder of the file.
    """

    name: str
    primary_region: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, str] = field(default_factory=lambda: {"app": ""})
    entrypoint: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()
    services: tuple[Scoped[Service], ...] = ()
    checks: Mapping[str, Scoped[MachineCheck]] = field(default_factory=dict)
    vms: tuple[Scoped[Guest], ...] = ()
    restarts: tuple[Scoped[tuple[str, int]], ...] = ()
    mounts: tuple[Scoped[Mount], ...] = ()
    kill_signal: str = "SIGINT"
    kill_timeout_s: float = 5.0
    release_command: str = ""
    seed_command: str = ""
    release_timeout_s: float = 300.0
    release_guest: Guest | None = None
    build: Build = field(default_factory=Build)
    files: tuple[Scoped[AppFile], ...] = ()
    statics: tuple[Static, ...] = ()
    metrics: tuple[Scoped[Metrics], ...] = ()
    swap_mb: int = 0
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    embedded_notes: tuple[str, ...] = ()
    folder_notes: tuple[str, ...] = ()
    folder: Path = Path()

    @property
    def default_group(self) -> str:
        """Return the group that sections without ``processes`` belong to, all but ``[[vm]]``."""
        return _default_group(self.processes)

    @property
    def gpu_groups(self) -> tuple[str, ...]:
        """Return the groups whose machines have a graphics processor."""
        return tuple(group for group in self.processes if _guest(self.vms, group).gpu_kind)

    def machine_config(
        self,
        group: str,
        *,
        image: str,
        primary_region: str = "",
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> MachineConfig:
        """
        Return what a machine of a process group runs.

        Args:
            group: A key of ``processes``.
            image: Image reference.
            primary_region: Overrides the file's; becomes PRIMARY_REGION, which only the client of
                the API sets.
            env: Laid over the file's environment.
            metadata: Added to the labels that flyctl looks for.

        Raises:
            PlanError: A file that is to be written into the machine cannot be read.
        """
        restarts = [r.value for r in self.restarts if r.holds_for(group)]
        restart = restarts[-1] if restarts else ("on-failure", 10)
        region = primary_region or self.primary_region
        merged = {**self.env, **(env or {}), "FLY_PROCESS_GROUP": group}
        return MachineConfig(
            image=image,
            env=merged | ({"PRIMARY_REGION": region} if region else {}),
            metadata={
                PLATFORM_VERSION_KEY: "v2",
                PROCESS_GROUP_KEY: group,
                **(metadata or {}),
            },
            **self._init(self.processes[group], self.exec),
            guest=_guest(self.vms, group),
            services=tuple(s.value for s in self.services if s.holds_for(group)),
            checks={n: c.value for n, c in self.checks.items() if c.holds_for(group)},
            restart_policy=restart[0],
            max_retries=restart[1],
            stop_signal=self.kill_signal,
            stop_timeout_s=self.kill_timeout_s,
            mounts=tuple(m.value for m in self.mounts if m.holds_for(group)),
            files=tuple(self._file(f.value) for f in self.files if f.holds_for(group)),
            statics=self.statics,
            metrics=next((m.value for m in self.metrics if m.holds_for(group)), None),
            swap_mb=self.swap_mb,
        )

    def release_config(
        self,
        *,
        image: str,
        primary_region: str = "",
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        command: str = "",
    ) -> MachineConfig:
        """
        Return what a temporary machine runs, without services and volumes.

        Args:
            image: Its image.
            primary_region: Becomes PRIMARY_REGION.
            env: Laid over the file's environment.
            metadata: Its labels.
            command: What it runs; empty for the release command.
        """
        usual = self.machine_config(
            self.default_group,
            image=image,
            primary_region=primary_region,
            env=env,
            metadata=metadata,
        )
        return replace(
            usual,
            **self._init(command or self.release_command, ()),
            guest=self.release_guest or usual.guest,
            env={**usual.env, "RELEASE_COMMAND": "1", "FLY_PROCESS_GROUP": RELEASE_GROUP},
            metadata={**usual.metadata, PROCESS_GROUP_KEY: RELEASE_GROUP},
            services=(),
            checks={},
            mounts=(),
            restart_policy="no",
            statics=(),
            metrics=None,
        )

    def _init(self, command: str, whole: tuple[str, ...]) -> dict[str, Any]:
        """
        Return which words a machine runs, as keywords of MachineConfig.

        An entry point together with a command leaves nothing of the image's own, which is what
        the exec form says.
        """
        if whole:
            return {"cmd": whole, "entrypoint": (), "exec_form": True}
        words = split_command(command)
        if self.entrypoint and words:
            return {"cmd": (*self.entrypoint, *words), "entrypoint": (), "exec_form": True}
        return {"cmd": words, "entrypoint": self.entrypoint, "exec_form": False}

    def _file(self, file: AppFile) -> GuestFile:
        """
        Return a file as the API takes it; one of this computer is read now.

        Raises:
            PlanError: It is missing, no plain file, or too large to be sent.
        """
        if not file.local_path:
            content = base64.b64encode(file.text.encode()).decode()
            return GuestFile(file.path, "" if file.secret else content, file.secret)
        path = self.folder / file.local_path
        told = f"files.local_path: {path}"
        if not path.is_file():
            raise PlanError(f"{told} is no file; paths begin in the folder of fly.toml")
        try:
            with path.open("rb") as opened:
                content_bytes = opened.read(_MOST_FILE_BYTES + 1)
        except OSError as error:
            raise PlanError(f"{told} cannot be read: {error.strerror}") from error
        if len(content_bytes) > _MOST_FILE_BYTES:
            raise PlanError(f"{told} is larger than 1 MiB; put it into the image instead")
        return GuestFile(file.path, base64.b64encode(content_bytes).decode())


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
    default = _default_group(commands)
    http_services = _owned(read_http_service(top), default)
    http_port = {
        group: service.value.internal_port for service in http_services for group in service.groups
    }
    services = _owned(read_services(top), default)
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
        checks=dict(zip(checks, _owned(checks.values(), default), strict=True)),
        vms=tuple(vms),
        restarts=tuple(_owned(read_restarts(top), default)),
        mounts=tuple(_owned(read_mounts(top), default)),
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
        files=tuple(_owned(read_files(top), default)),
        statics=tuple(read_statics(top)),
        metrics=tuple(_owned(read_metrics(top), default)),
        swap_mb=top.whole("swap_size_mb", 0),
        unknown=tuple(unknown_keys(top.data)),
        embedded_notes=tuple(_sentences(embedded_notes(top.data, in_folder=False))),
        folder_notes=tuple(_sentences(embedded_notes(top.data, in_folder=True))),
        folder=path.parent,
    )
    owned: tuple[tuple[str, Sequence[Scoped[Any]]], ...] = (
        ("http_service", http_services),
        ("services", services),
        ("restart", config.restarts),
    )
    for key, scoped in owned:
        for group in _strangers(scoped, commands):
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
        for group in _strangers(scoped, config.processes)
    ]


def _strangers(scoped: Iterable[Scoped[Any]], groups: Mapping[str, str]) -> list[str]:
    return sorted({group for item in scoped for group in item.groups} - set(groups))


def _owned(scoped: Iterable[Scoped[T]], default: str) -> list[Scoped[T]]:
    """Give what names no group to the default one."""
    return [replace(item, groups=item.groups or (default,)) for item in scoped]


def _default_group(groups: Iterable[str]) -> str:
    names = sorted(groups)
    return _DEFAULT_GROUP if _DEFAULT_GROUP in names else names[0]


def _guest(vms: Sequence[Scoped[Guest]], group: str) -> Guest:
    """Return the size for a group: the last one that names it, else the first that names none."""
    named = [vm.value for vm in vms if group in vm.groups]
    general = [vm.value for vm in vms if not vm.groups]
    return next(iter([*named[::-1], *general]), Guest())


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
