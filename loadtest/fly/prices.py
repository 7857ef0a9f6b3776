"""
What a started machine costs: Fly's list prices, by the second.

    price per second = (CPUs x price of one + GB of memory beyond those included x price of a GB)
                       x factor of the region

Traffic, volumes and certificates are not in it.  The organization's own conditions (reserved
blocks, credits) may make the bill smaller.

Source: https://docs.fly.io/about/pricing/ ("Started Fly Machines"), read on 2026-10-09, whose
numbers are in superfly/docs, snippets/RegionPricingSelector.jsx.
"""

from __future__ import annotations

from typing import Final

from loadtest.fly.machines import Guest

PRICES_OF: Final = "2026-10-09"
"""The day on which the prices below were the listed ones."""

_USD_PER_CPU_S: Final = {"shared": 0.000_000_846_5, "performance": 0.000_012_732}
_INCLUDED_GB_PER_CPU: Final = {"shared": 0.25, "performance": 2.0}
_USD_PER_GB_S: Final = 0.000_002_316
_FACTORS: Final = {
    "ams": 1.038461538,
    "arn": 1.038461538,
    "cdg": 1.134615385,
    "dfw": 1.25,
    "ewr": 1.0,
    "fra": 1.153846154,
    "gru": 1.615384615,
    "iad": 1.0,
    "jnb": 1.302884615,
    "lax": 1.199519231,
    "lhr": 1.134615385,
    "nrt": 1.307692308,
    "ord": 1.25,
    "sin": 1.269230769,
    "sjc": 1.192307692,
    "syd": 1.269230769,
    "yyz": 1.115384615,
}
_MB_PER_GB: Final = 1_024


def usd_per_s(guest: Guest, region: str) -> float:
    """
    Return what a started machine costs.

    Args:
        guest: Its size; graphics processors are not in the list and count nothing.
        region: Where it runs; one that is not in the list counts as the dearest.

    Returns:
        US dollars per second.
    """
    kind = guest.cpu_kind if guest.cpu_kind in _USD_PER_CPU_S else "performance"
    more_gb = guest.memory_mb / _MB_PER_GB - guest.cpus * _INCLUDED_GB_PER_CPU[kind]
    at_base = guest.cpus * _USD_PER_CPU_S[kind] + max(0.0, more_gb) * _USD_PER_GB_S
    return at_base * _FACTORS.get(region, max(_FACTORS.values()))


def size_name(guest: Guest) -> str:
    """Return a size as Fly names it, such as ``performance-1x 2 GB``."""
    kind = "shared-cpu" if guest.cpu_kind == "shared" else guest.cpu_kind
    memory = f"{guest.memory_mb / _MB_PER_GB:g} GB"
    gpu = f" {guest.gpus} x {guest.gpu_kind}" if guest.gpu_kind else ""
    return f"{kind}-{guest.cpus}x {memory}{gpu}"
