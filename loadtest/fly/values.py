"""The small value grammars of Fly: durations, memory sizes, VM sizes, names."""

from __future__ import annotations

import re

from loadtest.units import NS_PER_S

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_SIZE = re.compile(r"(\d+)\s*(mb|mib|m|gb|gib|g)?", re.IGNORECASE)
_VM_SIZE = re.compile(r"(shared-cpu|performance)-(\d+)x")
_MEMORY_PER_CPU_MB = {"shared": 256, "performance": 2_048}


def parse_duration_s(value: object, *, bare_unit_s: float = 1.0) -> float:
    """
    Read a duration as Go, and therefore Fly, writes it: ``15s``, ``1m30s``, ``250ms``.

    Args:
        value: Text, or a bare number.
        bare_unit_s: Seconds that a bare number counts in: 1e-9 in the API (Go's nanoseconds),
            1 for fly.toml's ``kill_timeout``, 1e-3 for the intervals of its checks.

    Returns:
        Seconds.

    Raises:
        ValueError: Neither a number nor a Go duration.
    """
    if isinstance(value, bool):
        raise ValueError(f"not a duration: {value!r}")
    if isinstance(value, int | float):
        return float(value) * bare_unit_s
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) * bare_unit_s
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'not a duration: {value!r}; write "15s", "1m30s" or "250ms"')
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Return seconds as the shortest exact Go duration, such as ``15s`` or ``250ms``."""
    nanoseconds = round(seconds * NS_PER_S)
    for unit, per in (("s", NS_PER_S), ("ms", 1_000_000), ("us", 1_000)):
        if nanoseconds % per == 0:
            return f"{nanoseconds // per}{unit}"
    return f"{nanoseconds}ns"


def parse_memory_mb(value: object) -> int:
    """
    Read a memory size of fly.toml: ``512``, ``"512mb"``, ``"1gb"``.

    Raises:
        ValueError: Not a size.
    """
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or isinstance(value, bool):
        raise ValueError(f'not a memory size: {value!r}; write "512mb" or "1gb"')
    unit = (match[2] or "mb").lower()
    return int(match[1]) * (1_024 if unit.startswith("g") else 1)


def parse_vm_size(size: str) -> tuple[str, int, int]:
    """
    Read a preset such as ``shared-cpu-2x``.

    Returns:
        CPU kind, number of CPUs, default memory in MB (256 per shared CPU, 2048 per performance
        CPU: fly-go, machine_types.go).

    Raises:
        ValueError: Unknown preset.
    """
    match = _VM_SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f'unknown VM size {size!r}; write "shared-cpu-1x" or "performance-2x"')
    kind = "shared" if match[1] == "shared-cpu" else "performance"
    cpus = int(match[2])
    return kind, cpus, cpus * _MEMORY_PER_CPU_MB[kind]


def split_image(image: str) -> tuple[str, str]:
    """
    Split an image reference into repository and tag; a digest counts as part of the tag.

    >>> split_image("registry.fly.io/app:v1")
    ('registry.fly.io/app', 'v1')
    """
    head, _, digest = image.partition("@")
    name, colon, tag = head.rpartition(":")
    if not colon or "/" in tag:  # the colon belongs to a registry's port
        name, tag = head, ""
    return name, "@".join(part for part in (tag or ("" if digest else "latest"), digest) if part)


def split_registry(repository: str) -> tuple[str, str]:
    """
    Split a repository into registry and path; no registry means Docker's, as for `docker pull`.

    >>> split_registry("registry.fly.io/app")
    ('registry.fly.io', 'app')
    >>> split_registry("postgres")
    ('registry-1.docker.io', 'library/postgres')
    """
    first, slash, rest = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "registry-1.docker.io", repository if slash else f"library/{repository}"
