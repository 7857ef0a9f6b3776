"""
Names of a run's apps on Fly: an organization's own, the same from run to run.

App names are global there, so every app of ours gets a prefix in front of the name that its
fly.toml gives.  Source: Machines API, "Create a Fly App" (422, ``name_taken``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.orders import AppOrder
from loadtest.plan.model import Plan
from loadtest.run.run_deployment import RunDeployment

ORG_VARIABLE = "FLY_ORG"
PERSONAL = "personal"
LONGEST_NAME = 62
"""Characters of an app's name: it is one label of a host name."""

_FILE = "fly-prefixes.json"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES = 3
_LONGEST_ORG = 20


@dataclass(frozen=True, slots=True)
class FlyNames:
    """
    How the apps of a run are called, and whose they are.

    Args:
        org: Slug of the organization that apps are made in.
        prefix: What stands in front of every name, with a dash between.
        use_apps: Apps that are deployed to although no run made them, by their whole name.
    """

    org: str
    prefix: str
    use_apps: tuple[str, ...] = ()

    def app(self, name: str) -> str:
        """
        Return what an app is called on Fly whose fly.toml calls it ``name``.

        Raises:
            PlanError: With the prefix the name is too long for a host name.
        """
        if name in self.use_apps:
            return name
        full = f"{self.prefix}-{name}"
        if len(full) > LONGEST_NAME:
            raise PlanError(
                f"--prefix: {self.prefix!r} makes the app name {full!r} of {len(full)} characters; "
                f"allowed are {LONGEST_NAME}; choose a shorter one"
            )
        return full


def names_of(plan: Plan) -> FlyNames:
    """
    Return the names that a plan, the environment and the remembered prefix give.

    Raises:
        PlanError: FLY_ORG is no slug of an organization.
    """
    org = org_of(plan.org)
    return FlyNames(org, plan.prefix or remembered_prefix(org, config_folder()), plan.use_apps)


def org_of(given: str) -> str:
    """
    Return the slug of the organization: the one given, FLY_ORG, or everybody's personal one.

    Raises:
        PlanError: FLY_ORG is no slug.
    """
    org = given or os.environ.get(ORG_VARIABLE, "") or PERSONAL
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", org):
        raise PlanError(
            f"{ORG_VARIABLE}: {org!r} is no slug of an organization (lower-case letters, digits, "
            "dashes); `fly orgs list` shows yours"
        )
    return org


def config_folder() -> Path:
    """Return the person's folder for settings of ours (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "loadtest"


def remembered_prefix(org: str, folder: Path) -> str:
    """
    Return an organization's prefix: the one made for it before, or a new one, kept for next time.

    A folder that cannot be written costs the memory only: the next run makes another one.
    """
    path = folder / _FILE
    known = _known(path)
    if org not in known:
        known[org] = f"{org[:_LONGEST_ORG].rstrip('-')}-{random_word()}"
        _keep(path, known)
    return known[org]


def known_prefix(org: str, folder: Path) -> str:
    """Return the prefix that was made for an organization before, empty where none was."""
    return _known(folder / _FILE).get(org, "")


def random_word() -> str:
    """Return a word that can be said and that nobody else is likely to have drawn."""
    return "".join(secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) for _ in range(_SYLLABLES))


def _known(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        str(org): prefix
        for org, prefix in content.items()
        if isinstance(prefix, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", prefix)
    }


def _keep(path: Path, known: Mapping[str, str]) -> None:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(dict(known), indent=1) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()


def named_for_fly(orders: RunDeployment, names: FlyNames) -> RunDeployment:
    """
    Return a run's orders under the names that they have on Fly.

    Private host names (``<app>.internal``, ``<app>.flycast``) in environment and secrets follow.

    Raises:
        PlanError: ``use_apps`` names an app that the plan does not deploy, or a name is too long.
    """
    whole = {order.name: names.app(order.name) for order in orders.every}
    if unknown := [name for name in names.use_apps if name not in whole.values()]:
        raise PlanError(
            f"--use-app: the plan deploys no app {unknown[0]!r}; it deploys "
            f"{', '.join(whole.values())}"
        )

    def named(order: AppOrder) -> AppOrder:
        config = replace(
            order.config, name=whole[order.name], env=_renamed(order.config.env, whole)
        )
        return replace(
            order,
            config=config,
            org=names.org,
            adopt=config.name in names.use_apps,
            secrets=_renamed(order.secrets, whole),
            env=_renamed(order.env, whole),
        )

    return replace(
        orders,
        database=None if orders.database is None else named(orders.database),
        companions={name: named(order) for name, order in orders.companions.items()},
        apps={deployment: named(order) for deployment, order in orders.apps.items()},
        generator=named(orders.generator),
    )


def app_names(orders: RunDeployment) -> list[str]:
    """Return the name of every app of a run, the database's first."""
    return [order.name for order in orders.every]


def _renamed(values: Mapping[str, str], whole: Mapping[str, str]) -> dict[str, str]:
    """Return values with the host names of renamed apps in them renamed, too."""
    return {key: with_hosts(value, whole) for key, value in values.items()}


def with_hosts(text: str, whole: Mapping[str, str]) -> str:
    """
    Return a text with the private host names of apps renamed.

    Args:
        text: A value of an environment.
        whole: New name by old one; what only begins or ends like one is left as it is.
    """
    hosts = "|".join(map(re.escape, _longest_first(whole)))
    pattern = rf"(?<![a-z0-9-])({hosts})(?=\.(?:internal|flycast)(?![a-z0-9-]))"
    return re.sub(pattern, lambda found: whole[found[1]], text)


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=len, reverse=True)
