"""What flags leave of a plan: some of its deployments, some of its scenarios."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.errors import PlanError

REDIS = {
    "name": "redis",
    "fly_toml": "fly/redis/fly.toml",
    "machines": "primary",
    "variable": "REDIS_URL",
}
"""The companion that ``--redis`` adds."""


def list_in(raw: Mapping[str, object], key: str) -> list[object]:
    """Return the list of a raw plan's key; an empty one where there is none."""
    found = raw.get(key)
    return list(found) if isinstance(found, list | tuple) else []


def names_in(raw: Mapping[str, object], key: str) -> list[str]:
    """Return the names in the list of a key of flags or of a raw plan."""
    return [str(name) for name in list_in(raw, key)]


def tables_in(raw: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """Return the tables in the list of a raw plan's key; what is no table is left out."""
    return [entry for entry in list_in(raw, key) if isinstance(entry, dict)]


def keep_deployments(raw: dict[str, object], names: list[str]) -> set[str]:
    """
    Keep some deployments of a raw plan; return the names of the others.

    Raises:
        PlanError: A name is none of the plan's.
    """
    entries = tables_in(raw, "deployments")
    known = [str(d.get("name")) for d in entries]
    if unknown := [name for name in names if name not in known]:
        raise PlanError(
            *(
                f"deployments: there is no {n!r} in the plan; it has {', '.join(known)}"
                for n in unknown
            )
        )
    raw["deployments"] = kept = [d for d in entries if d.get("name") in names]
    for entry in kept:
        origin = next((d for d in entries if d.get("name") == entry.get("of")), None)
        if origin is not None and entry.get("of") not in names:
            # The variant stands alone now: it takes over what it would have inherited.
            entry.setdefault("fly_toml", origin.get("fly_toml", ""))
            entry.setdefault("machines", origin.get("machines", "all"))
            entry["of"] = ""
    return set(known) - set(names)


def keep_scenarios(raw: dict[str, object], names: list[str]) -> set[str]:
    """
    Let every deployment of a raw plan play some scenarios alone; return those that play none.

    Raises:
        PlanError: There is no deployment, or none of them plays a scenario of that name.
    """
    entries = tables_in(raw, "deployments")
    listed = [list_in(d, "scenarios") for d in entries]
    known = sorted({str(name) for own in listed for name in own})
    strange = [name for name in names if name not in known]
    if not entries or (strange and all(listed)):
        raise PlanError(
            f"scenarios: no deployment of the plan plays {(strange or names)[0]!r}; "
            f"they play {', '.join(known) or 'nothing'}"
        )
    for entry, own in zip(entries, listed, strict=True):
        entry["scenarios"] = [name for name in names if not own or name in own]
    playing = [str(d.get("name")) for d in entries if d["scenarios"]]
    return keep_deployments(raw, playing)
