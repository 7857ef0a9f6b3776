"""TOML and flags in, one checked and resolved Plan out; every fault is reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pydantic

from loadtest.assets import find_asset
from loadtest.errors import PlanError
from loadtest.plan.apps import Deployment
from loadtest.plan.client import client_faults
from loadtest.plan.companions import companion_faults
from loadtest.plan.faults import fault_faults
from loadtest.plan.findings import findings
from loadtest.plan.headers import header_faults
from loadtest.plan.model import Plan
from loadtest.plan.network import base_times_ms, round_trips
from loadtest.plan.place_faults import (
    deployment_faults,
    region_faults,
    scenario_faults,
    scheme_faults,
)
from loadtest.plan.selection import REDIS, keep_deployments, keep_scenarios, list_in, names_in
from loadtest.plan.threshold_checks import check_thresholds
from loadtest.plan.urls import plan_of_urls, probable, undeployed_faults
from loadtest.plan.visitors import visitor_faults, visitors_left

DEFAULT_PLAN = "scenarios/latency-tables.toml"
_PLAN_NAME = re.compile(r"[a-z0-9-]+")


def load_plan(path: str | None = None, flags: Mapping[str, object] | None = None) -> Plan:
    """
    Read, override, check and resolve a plan.

    Args:
        path: TOML file, looked for as ``assets.find_asset`` does; None takes the default plan.
        flags: Values that win over the file, see ``load_raw``.

    Raises:
        PlanError: Anything is wrong with it; ``faults`` has a sentence for each.
    """
    return resolve_plan(*load_raw(DEFAULT_PLAN if path is None else path, flags or {}))


def url_plan(urls: Sequence[str], at: str, flags: Mapping[str, object]) -> Plan:
    """
    Return the plan that measures running deployments, with flags laid over it.

    Args:
        urls: The URLs as they were typed.
        at: Region that they stand in; empty: no distance is emulated.
        flags: As for ``load_raw``; ``regions`` and ``paths`` go into the plan itself.

    Raises:
        PlanError: Anything is wrong with a URL or a flag.
    """
    regions, paths = (names_in(flags, key) for key in ("regions", "paths"))
    flags = {key: value for key, value in flags.items() if key not in ("regions", "paths")}
    if at and at not in regions:
        regions = [at, *regions]
    world = str(flags.get("world") or "embedded")
    raw = plan_of_urls(urls, at=at, regions=regions, paths=paths, world=world)
    return plan_of_raw(raw, flags)


def plan_of_raw(raw: dict[str, object], flags: Mapping[str, object]) -> Plan:
    """
    Return the plan of raw values that no file holds, with flags laid over them.

    Raises:
        PlanError: Anything is wrong with it or with a flag.
    """
    dropped = _apply_flags(raw, {k: v for k, v in flags.items() if v is not None})
    return resolve_plan(raw, dropped)


def load_judged_plan(path: str | None, flags: Mapping[str, object]) -> Plan:
    """
    Read a plan as ``load_plan`` does, for a run that ends with a verdict.

    Raises:
        PlanError: The same, and where flags took away everything that the plan's rules are about.
    """
    return resolve_judged(*load_raw(DEFAULT_PLAN if path is None else path, flags))


def resolve_judged(raw: Mapping[str, object], dropped: frozenset[str] = frozenset()) -> Plan:
    """
    Return the plan of raw values as ``resolve_plan`` does, for a run that ends with a verdict.

    Raises:
        PlanError: The same, and where flags took away everything that the plan's rules are about.
    """
    plan = resolve_plan(raw, dropped)
    if raw.get("thresholds") and not plan.thresholds:
        gone = ", ".join(sorted(dropped))
        raise PlanError(
            f"thresholds: every rule is about what the flags took away ({gone}): nothing would be "
            "judged; keep what a rule needs, or give rules with --threshold"
        )
    return plan


def load_raw(path: str, flags: Mapping[str, object]) -> tuple[dict[str, object], frozenset[str]]:
    """
    Read a plan file and lay flags over it, unchecked.

    Args:
        path: TOML file, looked for as ``assets.find_asset`` does; or the name of one that travels
            with the program, such as ``atlas``.
        flags: Values that win over the file, by dotted key (``load.rate``); None values are left
            out.  ``regions``, ``deployments`` and ``scenarios`` are lists of names; a list of
            deployments or scenarios keeps those.

    Returns:
        Raw values, and the names of regions and deployments that the flags took away.

    Raises:
        PlanError: There is no such file, or it is no TOML.
    """
    found = find_asset(path)
    if found is None and _PLAN_NAME.fullmatch(path):
        found = find_asset(f"scenarios/{path}.toml")
    if found is None or not found.is_file() or found.suffix in (".py", ".yaml", ".yml", ".json"):
        raise PlanError(f"plan: {_no_plan(path, found)}")
    raw = {"name": _name_of(found), **_read_toml(found)}
    return raw, _apply_flags(raw, {k: v for k, v in flags.items() if v is not None})


def _no_plan(text: str, found: Path | None) -> str:
    """Return why a word on the command line names no plan, and what was probably meant."""
    if not text.strip():
        return f"{text!r} names no file; leave it out for the latency tables"
    if found is not None and found.is_dir():
        return f"{text!r} is a folder; give the path of a TOML plan, as scenarios/gate.toml"
    if found is not None and found.suffix == ".py":
        return (
            f"{text!r} is Python, not a plan; a locustfile runs by -f {text} --host URL, a "
            f'scenario by --scenario {text}, or as scenario = "{text}" in the plan'
        )
    if found is not None and found.is_file():
        return f"{text!r} is {found.suffix[1:].upper()}; a plan is TOML, see docs/plan.md"
    meant = probable(text) if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", text) else ""
    is_host = "." in text.partition("/")[0] or text.startswith("localhost")
    if meant and is_host and not text.endswith(".toml"):
        return f"there is no file {text!r}; if it is a deployment, give its URL: {meant}"
    return f"there is no file {text!r}; give the path of a TOML plan, one of ours (atlas), or a URL"


def _name_of(path: Path) -> str:
    """Return the name of a plan whose file does not say one: the file's own, as a name may be."""
    plain = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    return plain[:40].rstrip("-") or "plan"


def resolve_plan(raw: Mapping[str, object], dropped: frozenset[str] = frozenset()) -> Plan:
    """
    Check raw values and fill in what is looked up: round-trip times, base times, variants.

    Args:
        raw: Values as in the TOML file.
        dropped: Deployments and regions that flags took away: thresholds that name them go too.

    Raises:
        PlanError: Anything is wrong; all faults at once.
    """
    try:
        plan = Plan.model_validate(raw)
    except pydantic.ValidationError as error:
        raise PlanError(*findings(error)) from None
    faults = [
        *region_faults(plan),
        *deployment_faults(plan),
        *scenario_faults(plan),
        *scheme_faults(plan),
        *header_faults(plan),
        *client_faults(plan.client, plan.world),
        *companion_faults(plan),
        *fault_faults(plan),
        *visitor_faults(plan, dropped),
        *undeployed_faults(plan),
    ]
    network = plan.network
    base_ms = plan.base_ms
    try:
        looked_up = round_trips(network.rtt, plan.regions, network.rtt_ms)
        network = network.model_copy(
            update={"rtt_ms": looked_up.rtt_ms, "sources": looked_up.sources}
        )
    except PlanError as error:
        # An unknown region has no round-trip times: its own fault says what is wrong.
        faults += [] if faults else error.faults
    try:
        base_ms = base_times_ms(plan.base, plan.regions)
    except PlanError as error:
        faults += error.faults
    deployments = tuple(
        _inherit(plan, d) for d in plan.deployments if plan.clients_of(d) and _can_be(plan, d)
    )
    resolved = plan.model_copy(
        update={
            "network": network,
            "base_ms": base_ms,
            "deployments": deployments,
            "client": plan.client.absolute(),
            "visitors": visitors_left(plan, dropped),
        }
    )
    try:
        kept = check_thresholds(resolved, ignore_missing=dropped)
        resolved = resolved.model_copy(update={"thresholds": kept})
    except PlanError as error:
        faults += error.faults
    if faults:
        raise PlanError(*faults)
    return resolved


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows add a BOM
    except RecursionError as error:
        raise PlanError(f"plan: {path}: nested too deeply; no plan needs that") from error
    except UnicodeDecodeError as error:
        raise PlanError(
            f"plan: {path}: is not UTF-8 (byte {error.start}); save it as UTF-8, which editors "
            "call an encoding"
        ) from error
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise PlanError(f"plan: {path}: {error}") from error
    except OSError as error:
        raise PlanError(f"plan: {path} cannot be read: {error.strerror}") from error


def _apply_flags(raw: dict[str, object], flags: Mapping[str, object]) -> frozenset[str]:
    """
    Write the flags into the raw plan; return names of regions and deployments they took away.

    Raises:
        PlanError: What a flag changes is of another kind in the file.
    """
    _refuse_other_kinds(raw, flags)
    dropped: set[str] = set()
    for dotted, value in flags.items():
        if dotted == "deployments":
            dropped |= keep_deployments(raw, names_in(flags, dotted))
            continue
        if dotted == "scenarios":
            dropped |= keep_scenarios(raw, names_in(flags, dotted))
            continue
        if dotted == "regions":
            codes = names_in(flags, dotted)
            dropped |= {str(code) for code in list_in(raw, dotted) if code not in codes}
            if raw.get("primary_region") not in codes and "primary_region" not in flags:
                raw["primary_region"] = codes[0]
        if dotted == "redis":
            raw["companions"] = [*list_in(raw, "companions"), REDIS]
            continue
        *parents, last = dotted.split(".")
        table = raw
        for key in parents:
            inner = table.setdefault(key, {})
            assert isinstance(inner, dict)  # other kinds have been refused
            table = inner
        table[last] = list(value) if isinstance(value, tuple) else value
    return frozenset(dropped)


def _refuse_other_kinds(raw: Mapping[str, object], flags: Mapping[str, object]) -> None:
    """Refuse lists and tables that are none before a flag looks into them."""
    tables = {dotted.partition(".")[0] for dotted in flags if "." in dotted}
    wanted = {
        "regions": (list, "list"),
        "deployments": (list, "list of tables"),
        "companions": (list, "list of tables"),
        **dict.fromkeys(sorted(tables), (dict, "table")),
    }
    faults = [
        f"{key}: {str(raw[key])[:80]!r} is not allowed: want a {word}"
        for key, (kind, word) in wanted.items()
        if not isinstance(raw.get(key, kind()), kind)
    ]
    if faults:
        raise PlanError(*faults)


def _can_be(plan: Plan, deployment: Deployment) -> bool:
    """Tell whether a variant can be: the edges of Fly open connections when they see fit."""
    return plan.world != "fly" or not (deployment.of and deployment.new_connection_share)


def _inherit(plan: Plan, deployment: Deployment) -> Deployment:
    """Fill a variant's fly.toml, machines and environment from the deployment it varies."""
    if not deployment.of:
        return deployment
    try:
        origin = plan.deployment(deployment.of)
    except KeyError:
        return deployment
    if not deployment.url:
        deployment = deployment.with_credentials_of(origin)
    return deployment.model_copy(
        update={
            "fly_toml": deployment.fly_toml or origin.fly_toml,
            "url": deployment.url or origin.url,
            "at": deployment.at or origin.at,
            "http": deployment.http or origin.http,
            "scheme": deployment.scheme or origin.scheme,
            "machines": origin.machines,
            "folder": deployment.folder or origin.folder,
            "command": deployment.command or origin.command,
            "image": deployment.image or origin.image,
            "database": deployment.database or origin.database,
            "env": {**origin.env, **deployment.env},
            "headers": {**origin.headers, **deployment.headers},
        }
    )
