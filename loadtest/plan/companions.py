"""What can be wrong with the apps that stand beside a plan's deployments."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.assets import find_asset
from loadtest.plan.model import Plan


def companion_faults(plan: Plan) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with a plan's companions."""
    names = [companion.name for companion in plan.companions]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"companions: the name {name!r} is used more than once"
    for companion in plan.companions:
        if find_asset(companion.fly_toml) is None:
            key = f"companions.{companion.name}.fly_toml"
            yield f"{key}: there is no file {companion.fly_toml!r}"
