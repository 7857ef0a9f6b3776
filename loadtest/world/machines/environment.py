"""The environment of a machine: what Fly documents, what its config says, and little else."""

from __future__ import annotations

import os
import shutil
import site
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from loadtest.fly.machines import MachineConfig

# What a program needs to find its libraries, certificates and language; nothing else of the
# caller's environment reaches a machine, because it may hold secrets.
_INHERITED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "USER",
)


def base_environment(base: Path, outer: Mapping[str, str]) -> dict[str, str]:
    """
    Return what every machine starts from.

    Args:
        base: The world's folder; TMPDIR is in it.
        outer: The world's own environment.
    """
    env = {key: outer[key] for key in _INHERITED if key in outer}
    interpreter = Path(sys.executable).parent
    path = [str(interpreter), *outer.get("PATH", os.defpath).split(os.pathsep)]
    if not (interpreter / "python").exists():  # some systems name it python3 only
        path.insert(0, str(_python_alias(base)))
    env["PATH"] = os.pathsep.join(dict.fromkeys(path))
    env["TMPDIR"] = str(base / "tmp")
    package_root = str(Path(__file__).resolve().parents[3])
    if package_root not in site.getsitepackages():  # a checkout, which only this path leads to
        env["PYTHONPATH"] = package_root
    env["PYTHONUNBUFFERED"] = "1"  # the last lines before a crash must reach the log
    return env


def trust_variables(file: str) -> dict[str, str]:
    """
    Return the variables that tell programs which authorities to trust.

    OpenSSL and Go read the first, Node.js the second beside its own, Python's requests the third.

    Args:
        file: PEM file with their certificates.
    """
    return dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"), file)


def fly_environment(
    *,
    app: str,
    machine_id: str,
    instance_id: str,
    region: str,
    config: MachineConfig,
    private_ip: str,
) -> dict[str, str]:
    """Return the variables that Fly's documentation promises to a machine."""
    return {
        "FLY_APP_NAME": app,
        "FLY_MACHINE_ID": machine_id,
        "FLY_ALLOC_ID": machine_id,
        "FLY_MACHINE_VERSION": instance_id,
        "FLY_REGION": region,
        "FLY_PROCESS_GROUP": config.group,
        "FLY_IMAGE_REF": config.image,
        "FLY_PRIVATE_IP": private_ip,
        "FLY_VM_MEMORY_MB": str(config.guest.memory_mb),
    }


def port_variables(env: Mapping[str, str]) -> dict[str, int]:
    """Return the variables that name a port to listen on: ``PORT`` and ``*_PORT``, numeric."""
    return {
        key: int(value)
        for key, value in env.items()
        if (key == "PORT" or key.endswith("_PORT")) and value.isdigit() and 0 < int(value) < 65_536
    }


def declared_ports(config: MachineConfig) -> list[int]:
    """Return every port that a machine's config says it listens on, first service first."""
    services: Iterable[int] = (service.internal_port for service in config.services)
    checks = (check.port for check in config.checks.values() if check.port is not None)
    return list(dict.fromkeys((*services, *checks)))


def internal_ports(config: MachineConfig, env: Mapping[str, str]) -> list[int]:
    """Return the same, and every port that its environment may mean to be listened on."""
    return list(dict.fromkeys((*declared_ports(config), *port_variables(env).values())))


def with_real_ports(
    config: MachineConfig, env: Mapping[str, str], ports: Mapping[int, int]
) -> dict[str, str]:
    """Return ``env`` with every port replaced by the real one; PORT is set if a service has one."""
    real = {key: str(ports[port]) for key, port in port_variables(env).items()}
    if "PORT" not in env and config.services:
        real["PORT"] = str(ports[config.services[0].internal_port])
    return {**env, **real}


def _python_alias(base: Path) -> Path:
    """Make a folder with a ``python`` that runs this interpreter."""
    folder = base / "bin"
    folder.mkdir(exist_ok=True)
    alias = folder / "python"
    # A symbolic link would hide a virtual environment from the interpreter.
    alias.write_text(f'#!{shutil.which("sh") or "/bin/sh"}\nexec "{sys.executable}" "$@"\n')
    alias.chmod(0o755)
    return folder
