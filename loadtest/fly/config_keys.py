"""
Every key of fly.toml and what becomes of it.

docs/fly-toml.md is this table for people; a test holds one against the other.

Source: superfly/flyctl, internal/appconfig/config.go and strict_validate.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Fate = Literal["honoured", "on Fly only", "ignored", "refused here"]

ANY = "*"
"""In a path: a name that the file's author chooses."""


@dataclass(frozen=True, slots=True)
class TomlKey:
    """
    One key.

    Args:
        path: Dotted, with ``*`` for a name of the author's.
        fate: What becomes of it: honoured everywhere; sent to Fly and without effect in the
            embedded world; ignored everywhere; or refused by the embedded world.
        why: Why it is not honoured, or what it means; empty where the name says it.
        loud: It changes what a visitor gets, so it is told when a file has it.
        in_images: It has its effect where an app runs as its image, so it is told of folders alone.
        old: flyctl does not know it any more.
    """

    path: str
    fate: Fate = "honoured"
    why: str = ""
    loud: bool = False
    in_images: bool = False
    old: bool = False


_OWN_TLS = "the embedded world's edges offer TLS 1.2 and 1.3, HTTP/2 and 1.1"
_SCHEME = "in the embedded world the plan's `scheme` says how an app is called"
_PLAIN_CHECKS = "the embedded world's checks ask in plain HTTP"
_NO_STOP = "machines of a run stay up while it lasts"
_UNTOUCHED = "the embedded world's edges pass bodies on as they are"
_GRACE = "where it is longer than the plan's `healthy_within_s`, it is waited for"
_HTTP_ALONE = "the embedded world's edges forward HTTP alone"
_ONE_PORT = "the embedded world's edges listen on a port of their own"
_BUILD = "where `loadtest gate` builds the image"
_NO_PACKS = "buildpacks are not run: give the image, or a Dockerfile"
_VOLUME = "volumes of a run are new and end with it"
_ONE_HOST = "apps of the embedded world share one computer"
_TESTS = "test machines run when flyctl deploys"


def _checks(path: str, *, named: bool) -> tuple[TomlKey, ...]:
    """Return the keys of an HTTP check of a service, or of a check of the machine."""
    own = (
        (
            TomlKey(f"{path}.type", "honoured", "http or tcp; must be there"),
            TomlKey(f"{path}.port", "honoured", "that of `[http_service]` where it is missing"),
            TomlKey(f"{path}.processes", "honoured", "without it: the default group"),
        )
        if named
        else ()
    )
    return (
        *own,
        TomlKey(f"{path}.interval", "honoured", "a bare number counts milliseconds"),
        TomlKey(f"{path}.timeout", "honoured", "a bare number counts milliseconds"),
        TomlKey(f"{path}.grace_period", "honoured", _GRACE),
        TomlKey(f"{path}.method"),
        TomlKey(f"{path}.path"),
        TomlKey(f"{path}.headers.{ANY}", "honoured", "also a list of name and value"),
        TomlKey(f"{path}.protocol", "on Fly only", _PLAIN_CHECKS),
        TomlKey(f"{path}.tls_skip_verify", "on Fly only", _PLAIN_CHECKS),
        TomlKey(f"{path}.tls_server_name", "on Fly only", _PLAIN_CHECKS),
    )


def _tcp_checks(path: str) -> tuple[TomlKey, ...]:
    return (
        TomlKey(f"{path}.interval", "honoured", "a bare number counts milliseconds"),
        TomlKey(f"{path}.timeout", "honoured", "a bare number counts milliseconds"),
        TomlKey(f"{path}.grace_period", "honoured", _GRACE),
        TomlKey(f"{path}.restart_limit", "ignored", "Fly gave it up with Nomad", old=True),
    )


def _machine_checks(path: str) -> tuple[TomlKey, ...]:
    names = ("command", "image", "entrypoint", "kill_signal", "kill_timeout")
    return tuple(TomlKey(f"{path}.{name}", "ignored", _TESTS) for name in names)


def _http_options(path: str) -> tuple[TomlKey, ...]:
    options = f"{path}.http_options"
    cache = f"{options}.replay_cache"
    return (
        TomlKey(f"{options}.compress", "on Fly only", _UNTOUCHED, loud=True),
        TomlKey(f"{options}.response.headers.{ANY}", "honoured", "of the first HTTP port"),
        TomlKey(f"{options}.response.pristine", "honoured", "of the first HTTP port"),
        TomlKey(
            f"{options}.h2_backend", "on Fly only", "the embedded world's edges ask in HTTP/1.1"
        ),
        TomlKey(
            f"{options}.idle_timeout",
            "on Fly only",
            "the embedded world's edges have one limit for all",
        ),
        TomlKey(
            f"{options}.headers_read_timeout",
            "on Fly only",
            "the embedded world's edges have one limit for all",
        ),
        *(
            TomlKey(f"{cache}.{name}", "honoured", "of the first HTTP port")
            for name in ("path_prefix", "ttl_seconds", "type", "name", "allow_bypass")
        ),
        TomlKey(f"{path}.tls_options.alpn", "on Fly only", _OWN_TLS),
        TomlKey(f"{path}.tls_options.versions", "on Fly only", _OWN_TLS),
        TomlKey(f"{path}.tls_options.default_self_signed", "on Fly only", _OWN_TLS),
    )


def _service(path: str) -> tuple[TomlKey, ...]:
    return (
        TomlKey(f"{path}.internal_port", "honoured", "8080 where it is missing"),
        TomlKey(f"{path}.processes", "honoured", "without it: the default group"),
        TomlKey(f"{path}.auto_stop_machines", "on Fly only", _NO_STOP),
        TomlKey(f"{path}.auto_start_machines", "on Fly only", _NO_STOP),
        TomlKey(f"{path}.min_machines_running", "on Fly only", _NO_STOP),
        TomlKey(
            f"{path}.concurrency.type",
            "on Fly only",
            "what a machine's load is counted by; the embedded world's edges keep connections",
        ),
        TomlKey(
            f"{path}.concurrency.soft_limit",
            "on Fly only",
            "the embedded world's edges ask the nearest machine",
        ),
        TomlKey(
            f"{path}.concurrency.hard_limit",
            "on Fly only",
            "the embedded world's edges ask the nearest machine",
        ),
        *_machine_checks(f"{path}.machine_checks"),
    )


def _vm(path: str) -> tuple[TomlKey, ...]:
    return (
        TomlKey(f"{path}.size", "on Fly only", _ONE_HOST),
        TomlKey(f"{path}.memory", "on Fly only", f"{_ONE_HOST}; `FLY_VM_MEMORY_MB` tells it"),
        TomlKey(f"{path}.memory_mb", "on Fly only", f"{_ONE_HOST}; `FLY_VM_MEMORY_MB` tells it"),
        TomlKey(f"{path}.cpus", "on Fly only", _ONE_HOST),
        TomlKey(f"{path}.cpu_kind", "on Fly only", _ONE_HOST),
        TomlKey(f"{path}.gpu_kind", "refused here", "GPUs are not offered in the embedded world"),
        TomlKey(f"{path}.gpus", "refused here", "GPUs are not offered in the embedded world"),
        TomlKey(f"{path}.max_memory_mb", "ignored", "memory does not grow while a run lasts"),
        TomlKey(f"{path}.kernel_args", "ignored", "a run measures the app, not a kernel"),
        TomlKey(
            f"{path}.host_dedication_id", "ignored", "a run takes the hosts that everybody has"
        ),
        TomlKey(f"{path}.persist_rootfs", "ignored", "machines of a run are new"),
    )


KEYS: tuple[TomlKey, ...] = (
    TomlKey("app", "honoured", "may be missing; the run then names the app"),
    TomlKey("primary_region", "honoured", "the plan's comes before it"),
    TomlKey("kill_signal"),
    TomlKey("kill_timeout", "honoured", "a bare number counts seconds"),
    TomlKey("swap_size_mb", "on Fly only", _ONE_HOST),
    TomlKey("console_command", "ignored", "no console is opened"),
    TomlKey("host_dedication_id", "ignored", "a run takes the hosts that everybody has"),
    TomlKey(
        "machine_config", "ignored", "one container a machine is offered, its image", loud=True
    ),
    TomlKey("container", "ignored", "one container a machine is offered, its image", loud=True),
    *_machine_checks("machine_checks"),
    TomlKey(f"env.{ANY}", "honoured", "numbers and booleans become text as Go prints them"),
    TomlKey(
        f"processes.{ANY}", "honoured", "empty: `[experimental] cmd`, else the image's command"
    ),
    TomlKey("build.image", "honoured", "`loadtest gate` runs it where an engine can pull it"),
    TomlKey("build.dockerfile", "honoured", "from the folder of fly.toml"),
    TomlKey("build.ignorefile", "honoured", "from the folder of fly.toml"),
    TomlKey("build.build-target", "honoured", _BUILD),
    TomlKey("build.build_target", "honoured", "of old for `build.build-target`"),
    TomlKey(f"build.args.{ANY}", "honoured", _BUILD),
    TomlKey("build.builder", "ignored", _NO_PACKS, loud=True),
    TomlKey("build.buildpacks", "ignored", _NO_PACKS),
    TomlKey("build.builtin", "ignored", _NO_PACKS, loud=True),
    TomlKey(f"build.settings.{ANY}", "ignored", _NO_PACKS),
    TomlKey("build.compose.file", "ignored", "one container a machine is offered", loud=True),
    TomlKey("build.compression", "ignored", "images stay on this machine"),
    TomlKey("build.compression_level", "ignored", "images stay on this machine"),
    TomlKey("deploy.release_command", "honoured", "once for each database"),
    TomlKey("deploy.release_command_timeout", "honoured", "5 minutes where it is missing"),
    *_vm("deploy.release_command_vm"),
    TomlKey("deploy.strategy", "ignored", "machines of a run are new, none is replaced"),
    TomlKey("deploy.max_unavailable", "ignored", "machines of a run are new, none is replaced"),
    TomlKey("deploy.wait_timeout", "ignored", "the plan says how long machines may take"),
    TomlKey("deploy.seed_command", "honoured", "after the release command; a run's apps are new"),
    TomlKey(
        "experimental.cmd", "honoured", "text is one word; where `[processes]` names no command"
    ),
    TomlKey("experimental.entrypoint", "honoured", "text is one word"),
    TomlKey("experimental.exec", "honoured", "text is one word; nothing else is run"),
    TomlKey("experimental.kill_timeout", "honoured", "where the file has no `kill_timeout`"),
    TomlKey("experimental.metrics_port", "on Fly only", "where the file has no `[metrics]`"),
    TomlKey("experimental.metrics_path", "on Fly only", "where the file has no `[metrics]`"),
    TomlKey("experimental.auto_rollback", "ignored", "a run has nothing to roll back to"),
    TomlKey("experimental.enable_consul", "ignored", "consul is not offered"),
    TomlKey("experimental.enable_etcd", "ignored", "etcd is not offered"),
    TomlKey("experimental.lazy_load_images", "ignored", "images are there before a machine starts"),
    TomlKey(f"experimental.attached.secrets.export.{ANY}", "ignored", "secrets are the run's own"),
    TomlKey(
        "experimental.machine_config", "ignored", "one container a machine is offered", loud=True
    ),
    TomlKey("experimental.allowed_public_ports", "ignored", "Fly gave it up with Nomad", old=True),
    TomlKey("experimental.private_network", "ignored", "every app has it", old=True),
    *_service("http_service"),
    TomlKey("http_service.force_https", "on Fly only", _SCHEME),
    *_checks("http_service.checks", named=False),
    *_http_options("http_service"),
    *_service("services"),
    TomlKey("services.protocol", "on Fly only", _HTTP_ALONE),
    TomlKey("services.ports.port", "on Fly only", _ONE_PORT),
    TomlKey("services.ports.start_port", "on Fly only", _ONE_PORT),
    TomlKey("services.ports.end_port", "on Fly only", _ONE_PORT),
    TomlKey(
        "services.ports.handlers", "honoured", "a service with `http` is what edges forward to"
    ),
    TomlKey("services.ports.force_https", "on Fly only", _SCHEME),
    *_http_options("services.ports"),
    TomlKey(
        "services.ports.proxy_proto_options.version",
        "on Fly only",
        "the embedded world's edges send no PROXY line",
    ),
    *_tcp_checks("services.tcp_checks"),
    *_checks("services.http_checks", named=False),
    TomlKey("services.http_checks.restart_limit", "ignored", "Fly gave it up with Nomad", old=True),
    TomlKey("services.script_checks", "ignored", "Fly gave it up with Nomad", old=True),
    *_checks(f"checks.{ANY}", named=True),
    *_vm("vm"),
    TomlKey("vm.processes", "honoured", "without it: all groups"),
    TomlKey("restart.policy", "honoured", "always, never or on-failure; must be there"),
    TomlKey("restart.retries", "honoured", "10 where it is missing"),
    TomlKey("restart.processes", "honoured", "without it: the default group"),
    TomlKey("mounts.source", "on Fly only", "volumes of a run are new and empty"),
    TomlKey(
        "mounts.destination",
        "honoured",
        "in an image, as an empty folder; an app in its folder finds this computer's own",
        loud=True,
        in_images=True,
    ),
    TomlKey("mounts.initial_size", "on Fly only", "a bare number counts GB"),
    TomlKey("mounts.processes", "honoured", "without it: the default group"),
    TomlKey("mounts.snapshot_retention", "ignored", _VOLUME),
    TomlKey("mounts.scheduled_snapshots", "ignored", _VOLUME),
    TomlKey("mounts.auto_extend_size_threshold", "ignored", _VOLUME),
    TomlKey("mounts.auto_extend_size_increment", "ignored", _VOLUME),
    TomlKey("mounts.auto_extend_size_limit", "ignored", _VOLUME),
    *(
        TomlKey(
            f"files.{name}",
            "honoured",
            "in an image; an app in its folder finds this computer's own file of that name",
            loud=True,
            in_images=True,
        )
        for name in ("guest_path", "local_path", "secret_name", "raw_value")
    ),
    TomlKey("files.processes", "honoured", "without it: the default group"),
    *(
        TomlKey(
            f"statics.{name}",
            "honoured",
            "edges answer GET and HEAD of files up to 16 MiB that the image has; of an app in its "
            "folder, in the longest end of guest_path that is there. All else the app answers",
        )
        for name in ("guest_path", "url_prefix", "index_document")
    ),
    TomlKey("statics.tigris_bucket", "on Fly only", "the app itself answers for it", loud=True),
    TomlKey("metrics.port", "on Fly only", "the app's own metrics are not part of a run"),
    TomlKey("metrics.path", "on Fly only", "the app's own metrics are not part of a run"),
    TomlKey("metrics.https", "on Fly only", "the app's own metrics are not part of a run"),
    TomlKey("metrics.processes", "honoured", "without it: the default group"),
)

OLD_NAMES: Mapping[str, str] = {
    "compute": "vm",
    "computes": "vm",
    "mount": "mounts",
    "metric": "metrics",
}
"""Sections that flyctl still takes under another name."""
