"""The small value grammars of Fly: durations, memory sizes, VM sizes, names."""

from __future__ import annotations

import re
from fractions import Fraction

from loadtest.units import NS_PER_S

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MEMORY_PER_CPU_MB = {"shared": 256, "performance": 2_048}
_CPU_SIZES = {
    **{f"shared-cpu-{cpus}x": ("shared", cpus) for cpus in (1, 2, 4, 6, 8)},
    **{f"performance-{cpus}x": ("performance", cpus) for cpus in (1, 2, 4, 6, 8, 10, 12, 14, 16)},
}

Json = dict[str, object]
"""What the API is sent and answers."""

API_UNIT_S = 1e-9
"""What a bare number counts in the API: Go's time.Duration, which has nanoseconds."""

GPU_SIZES = {
    "a100-40gb": "a100-pcie-40gb",
    "a100-80gb": "a100-sxm4-80gb",
    "l40s": "l40s",
    "a10": "a10",
}
"""Presets that have a graphics processor, and its kind (fly-go, machine_types.go)."""
CACHE_IMAGES = frozenset({"redis", "valkey"})
"""Repositories, whoever owns them, whose images are a server that speaks Redis's protocol."""

VM_SIZES = (*_CPU_SIZES, *GPU_SIZES)


def parse_duration_s(value: object, *, bare_unit_s: float = 1.0) -> float:
    """
    Read a duration as Go, and therefore Fly, writes it: ``15s``, ``1m30s``, ``250ms``.

    Args:
        value: Text, or a bare number.
        bare_unit_s: Seconds that a bare number counts in: ``API_UNIT_S`` in the API,
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
    Read a memory size of fly.toml, in powers of 1024: ``512``, ``"512mb"``, ``"1.5 GiB"``.

    A bare number counts MB.

    Raises:
        ValueError: Not a size.
    """
    return _size(value, 1_024, 2, 'write "512mb" or "1gb"')


def parse_volume_gb(value: object) -> int:
    """
    Read the size of a volume, in powers of 1000: ``10``, ``"10gb"``; a bare number counts GB.

    Raises:
        ValueError: Not a size.
    """
    return _size(value, 1_000, 3, 'write "10gb"')


def _size(value: object, base: int, power: int, cure: str) -> int:
    """Return a size in whole units of ``base`` to the ``power``, as go-units reads it."""
    text = str(value)
    match = _SIZE.fullmatch(text.strip())
    if match is None or isinstance(value, bool) or not text.isascii():
        raise ValueError(f"not a size: {value!r}; {cure}")
    if match[0].isdigit():
        return int(match[0])
    exponent = _POWERS[match[2].lower()] - power
    return int(Fraction(match[1]) * Fraction(base) ** exponent)


def parse_vm_size(size: str) -> tuple[str, int, int]:
    """
    Read a preset such as ``shared-cpu-2x``.

    Returns:
        CPU kind, number of CPUs, default memory in MB (256 per shared CPU, 2048 per performance
        CPU: fly-go, machine_types.go).

    Raises:
        ValueError: Unknown preset.
    """
    if size in GPU_SIZES:
        return "performance", 8, 16 * _MEMORY_PER_CPU_MB["performance"]
    if size not in _CPU_SIZES:
        raise ValueError(f"{size!r} is not one of {', '.join(VM_SIZES)}")
    kind, cpus = _CPU_SIZES[size]
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


def is_cache(image: str) -> bool:
    """
    Tell whether an image is a Redis-compatible server, from whatever registry and owner.

    >>> [is_cache(name) for name in ("redis:7", "valkey/valkey:8", "registry.fly.io/my-redis")]
    [True, True, False]
    """
    repository, _ = split_image(image)
    return repository.rpartition("/")[2] in CACHE_IMAGES


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
