"""
What a fly.toml says, as one value, and the machine configs that flyctl would make of it.

Source: superfly/flyctl, internal/appconfig/machines.go.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.config_sections import AppFile, Build
from loadtest.fly.go_text import split_command
from loadtest.fly.machines import (
    PLATFORM_VERSION_KEY,
    PROCESS_GROUP_KEY,
    RELEASE_GROUP,
    Guest,
    GuestFile,
    MachineConfig,
    Metrics,
    Mount,
    Static,
)
from loadtest.fly.process_groups import Scoped, default_group_of, guest_of
from loadtest.fly.services import MachineCheck, Service

_MOST_FILE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class _Words:
    """What a machine runs, as ``MachineConfig`` has it."""

    cmd: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    exec_form: bool = False


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
        return default_group_of(self.processes)

    @property
    def gpu_groups(self) -> tuple[str, ...]:
        """Return the groups whose machines have a graphics processor."""
        return tuple(group for group in self.processes if guest_of(self.vms, group).gpu_kind)

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
        words = self._words(self.processes[group], self.exec)
        merged = {**self.env, **(env or {}), "FLY_PROCESS_GROUP": group}
        return MachineConfig(
            image=image,
            env=merged | ({"PRIMARY_REGION": region} if region else {}),
            metadata={
                PLATFORM_VERSION_KEY: "v2",
                PROCESS_GROUP_KEY: group,
                **(metadata or {}),
            },
            cmd=words.cmd,
            entrypoint=words.entrypoint,
            exec_form=words.exec_form,
            guest=guest_of(self.vms, group),
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
        words = self._words(command or self.release_command, ())
        return replace(
            usual,
            cmd=words.cmd,
            entrypoint=words.entrypoint,
            exec_form=words.exec_form,
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

    def _words(self, command: str, whole: tuple[str, ...]) -> _Words:
        """
        Return which words a machine runs.

        An entry point together with a command leaves nothing of the image's own, which is what
        the exec form says.
        """
        if whole:
            return _Words(whole, exec_form=True)
        words = split_command(command)
        if self.entrypoint and words:
            return _Words((*self.entrypoint, *words), exec_form=True)
        return _Words(words, self.entrypoint)

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
