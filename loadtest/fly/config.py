"""
Reads fly.toml and turns it into machine configs, as flyctl does when it deploys.

Keys that say nothing about what a machine runs (build steps, static files and the like) are
accepted; keys that Fly does not know are ignored, as flyctl ignores them, but listed.

Source: the configuration reference of Fly's documentation; superfly/flyctl, internal/appconfig.
"""

from __future__ import annotations

import difflib
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from loadtest.errors import PlanError
from loadtest.fly.config_sections import (
    Scoped,
    read_checks,
    read_http_service,
    read_mounts,
    read_restarts,
    read_services,
    read_vms,
    tables,
    unknown_keys,
)
from loadtest.fly.machines import (
    PLATFORM_VERSION_KEY,
    PROCESS_GROUP_KEY,
    RELEASE_GROUP,
    Guest,
    MachineCheck,
    MachineConfig,
    Mount,
    Service,
)
from loadtest.fly.values import parse_duration_s

T = TypeVar("T")

SIGNALS = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP")
_LONGEST_KILL_S = 300.0


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
        services: What the edges forward to, with the groups it holds for.
        checks: Health checks by name, with the groups they hold for.
        vms: Sizes, with the groups they hold for.
        restarts: Restart policy and retries, with the groups they hold for.
        mounts: Volumes, with the groups they hold for.
        kill_signal: Signal that asks a machine to end.
        kill_timeout_s: Seconds from that signal to SIGKILL.
        release_command: Command run once before machines are replaced.
        release_timeout_s: Longest time it may take.
        unknown: Keys that Fly does not know, dotted.
        folder: Folder of the file.
    """

    name: str
    primary_region: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, str] = field(default_factory=lambda: {"app": ""})
    services: tuple[Scoped[Service], ...] = ()
    checks: Mapping[str, Scoped[MachineCheck]] = field(default_factory=dict)
    vms: tuple[Scoped[Guest], ...] = ()
    restarts: tuple[Scoped[tuple[str, int]], ...] = ()
    mounts: tuple[Scoped[Mount], ...] = ()
    kill_signal: str = "SIGINT"
    kill_timeout_s: float = 5.0
    release_command: str = ""
    release_timeout_s: float = 300.0
    unknown: tuple[str, ...] = ()
    folder: Path = Path()

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
        """
        default_restart = ("on-failure", 10)
        restart = _first(self.restarts, group, default_restart)
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
            cmd=tuple(shlex.split(self.processes[group])),
            guest=_first(self.vms, group, Guest()),
            services=tuple(s.value for s in self.services if s.holds_for(group)),
            checks={n: c.value for n, c in self.checks.items() if c.holds_for(group)},
            restart_policy=restart[0],
            max_retries=restart[1],
            stop_signal=self.kill_signal,
            stop_timeout_s=self.kill_timeout_s,
            mounts=tuple(m.value for m in self.mounts if m.holds_for(group)),
        )

    def release_config(
        self,
        *,
        image: str,
        primary_region: str = "",
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> MachineConfig:
        """Return what the release command's temporary machine runs: no services, no volumes."""
        group = next(iter(self.processes))
        usual = self.machine_config(
            group, image=image, primary_region=primary_region, env=env, metadata=metadata
        )
        return replace(
            usual,
            cmd=tuple(shlex.split(self.release_command)),
            env={**usual.env, "RELEASE_COMMAND": "1", "FLY_PROCESS_GROUP": RELEASE_GROUP},
            metadata={**usual.metadata, PROCESS_GROUP_KEY: RELEASE_GROUP},
            services=(),
            checks={},
            mounts=(),
            restart_policy="no",
        )


def read_app_config(path: Path) -> AppConfig:
    """
    Read a fly.toml.

    Raises:
        PlanError: The file is missing, is not TOML, or has values of no use; every fault is told.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_app_config(text, path)


def parse_app_config(text: str, path: Path) -> AppConfig:
    """
    Read the text of a fly.toml; ``path`` is where it came from and is named in errors.

    Raises:
        PlanError: It is not TOML, or has values of no use; every fault is told.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not TOML: {error}") from error
    faults: list[str] = []
    try:
        config = _Reader(data, faults).read(path)
    except (TypeError, AttributeError, IndexError) as error:
        raise PlanError(f"{path}: a section has the wrong shape: {error}") from error
    if faults:
        raise PlanError(*(f"{path}: {fault}" for fault in faults))
    return config


@dataclass(slots=True)
class _Reader:
    """Reads section by section and collects every fault instead of stopping at the first."""

    data: Mapping[str, Any]
    faults: list[str]

    def read(self, path: Path) -> AppConfig:
        data, attempt = self.data, self._attempt
        none: list[Scoped[Service]] = []
        services = [
            *attempt("http_service", lambda: read_http_service(data.get("http_service")), none),
            *attempt("services", lambda: read_services(tables(data, "services")), none),
        ]
        processes = attempt("processes", self._processes, {"app": ""})
        deploy = tables(data, "deploy")[0] if data.get("deploy") else {}
        config = AppConfig(
            name=str(data.get("app", "")),
            primary_region=str(data.get("primary_region", "")),
            image=str(tables(data, "build")[0].get("image", "")) if data.get("build") else "",
            env=attempt("env", self._env, {}),
            processes=processes,
            services=tuple(services),
            checks=attempt("checks", lambda: read_checks(data.get("checks") or {}), {}),
            vms=tuple(attempt("vm", lambda: read_vms(tables(data, "vm")), [])),
            restarts=tuple(attempt("restart", lambda: read_restarts(tables(data, "restart")), [])),
            mounts=tuple(
                attempt("mounts", lambda: read_mounts(tables(data, "mounts", "mount")), [])
            ),
            kill_signal=str(data.get("kill_signal", "SIGINT")),
            kill_timeout_s=attempt(
                "kill_timeout", lambda: parse_duration_s(data.get("kill_timeout", 5)), 5.0
            ),
            release_command=str(deploy.get("release_command", "")),
            release_timeout_s=attempt(
                "deploy.release_command_timeout",
                lambda: parse_duration_s(deploy.get("release_command_timeout", 300)),
                300.0,
            ),
            unknown=tuple(unknown_keys(data)),
            folder=path.parent,
        )
        self._check(config)
        return config

    def _attempt(self, key: str, read: Callable[[], T], default: T) -> T:
        try:
            return read()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            told = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            self.faults.append(f"{key}: {told}")
            return default

    def _env(self) -> dict[str, str]:
        env = self.data.get("env") or {}
        reserved = sorted(key for key in env if key.startswith("FLY_"))
        if reserved:
            raise ValueError(
                f"{', '.join(reserved)}: names beginning with FLY_ belong to the platform; "
                "choose other names"
            )
        return {str(key): str(value) for key, value in env.items()}

    def _processes(self) -> dict[str, str]:
        commands = self.data.get("processes") or {}
        experimental = (self.data.get("experimental") or {}).get("cmd") or ()
        if isinstance(commands, list):  # the form of 2022, which flyctl converts
            commands = {entry["name"]: entry["command"] for entry in commands}
        if not commands:
            words = [experimental] if isinstance(experimental, str) else [*experimental]
            return {"app": words[0] if len(words) == 1 else shlex.join(words)}
        for group, command in commands.items():
            try:
                shlex.split(command)
            except ValueError as error:
                raise ValueError(f"{group} = {command!r}: {error}") from error
        return {str(group): str(command) for group, command in commands.items()}

    def _check(self, config: AppConfig) -> None:
        if not config.name:
            self.faults.append('app: missing; name the app, such as app = "my-app"')
        if config.kill_signal not in SIGNALS:
            near = difflib.get_close_matches(config.kill_signal, SIGNALS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.faults.append(
                f"kill_signal: {config.kill_signal!r} is not one of {', '.join(SIGNALS)}{hint}"
            )
        if not 0 <= config.kill_timeout_s <= _LONGEST_KILL_S:
            self.faults.append(
                f"kill_timeout: {config.kill_timeout_s:g} is not within 0 to 300 seconds"
            )
        scoped: list[Scoped[Any]] = [*config.services, *config.vms, *config.mounts]
        scoped += config.checks.values()
        for group in sorted({g for item in scoped for g in item.groups} - set(config.processes)):
            known = ", ".join(config.processes)
            self.faults.append(f"processes: group {group!r} is not defined; there are: {known}")


def _first(scoped: Sequence[Scoped[T]], group: str, default: T) -> T:
    exact = (item.value for item in scoped if group in item.groups)
    general = (item.value for item in scoped if not item.groups)
    return next(exact, next(general, default))
