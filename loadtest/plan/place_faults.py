"""What is wrong with where a plan measures and what: regions, deployments, the scenario's file."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.assets import find_asset
from loadtest.plan.model import Plan
from loadtest.plan.urls import url_faults
from loadtest.regions import HERE, region_table, suggest_regions


def region_faults(plan: Plan) -> Iterator[str]:
    """Yield what is wrong with a plan's regions."""
    table = region_table()
    for code in dict.fromkeys(plan.regions):
        if code == HERE:
            if any(not d.url or d.at for d in plan.deployments):
                yield f"regions: {HERE!r} is for deployments that are URLs without a place ('at')"
            elif plan.world != "embedded":
                yield f"regions: {HERE!r} is this machine; name regions, such as 'cdg'"
        elif code not in table:
            near = ", ".join(f"{c} ({table[c].city})" for c in suggest_regions(code))
            yield f"regions: {code!r} is no known region; the nearest known are {near}"
        elif plan.world == "fly" and table[code].retired:
            yield (
                f"regions: {code!r} ({table[code].city}) was {table[code].status} by Fly; "
                f"use {table[code].replacement!r}, or the embedded world"
            )
    if repeated := {c for c in plan.regions if plan.regions.count(c) > 1}:
        yield f"regions: named more than once: {', '.join(sorted(repeated))}"
    if plan.primary_region not in plan.regions:
        yield (
            f"primary_region: {plan.primary_region!r} is not among the plan's regions "
            f"{', '.join(plan.regions)}"
        )


def scheme_faults(plan: Plan) -> Iterator[str]:
    """Yield where a scheme is given that cannot be, or has no meaning."""
    for deployment in plan.deployments:
        key = f"deployments.{deployment.name}.scheme"
        if deployment.url:
            if deployment.scheme:
                yield f"{key}: is for an app that is deployed; a url has its own, leave it out"
        elif plan.scheme_of(deployment) == "http":
            if plan.world == "fly":
                yield f"{key}: 'http' is not allowed on Fly, whose edges are asked over https"
            elif plan.http_of(deployment) == "2":
                yield (
                    f"{key}: 'http' is not allowed with http = '2': edges speak HTTP/2 over TLS "
                    "alone, as Fly's do; leave it out, or write 'https'"
                )


def deployment_faults(plan: Plan) -> Iterator[str]:
    """Yield what is wrong with each deployment of a plan."""
    names = [d.name for d in plan.deployments]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"deployments: the name {name!r} is used more than once"
    for deployment in plan.deployments:
        key = f"deployments.{deployment.name}"
        if deployment.of and deployment.of not in names:
            yield f"{key}.of: no deployment {deployment.of!r}; there are {', '.join(names)}"
        if not (deployment.of or deployment.fly_toml or deployment.url):
            yield f"{key}: needs one of fly_toml, url or of"
        if strange := [code for code in deployment.regions if code not in plan.regions]:
            yield (
                f"{key}.regions: {strange[0]!r} is not among the plan's regions "
                f"{', '.join(plan.regions)}"
            )
        if deployment.new_connection_share and (
            deployment.url or (plan.world == "fly" and not deployment.of)
        ):
            yield (
                f"{key}.new_connection_share: is for a fly.toml in an embedded world, whose edges "
                "can be told to open connections; leave it out"
            )
        if deployment.at and plan.world != "embedded":
            yield f"{key}.at: no distance is emulated where regions are real; leave it out"
        if deployment.url:
            yield from url_faults(f"{key}.url", deployment.url.rstrip("/"))
        if deployment.at and not deployment.url:
            yield f"{key}.at: is for a url; a fly.toml says where its machines stand"
        if deployment.at and (plan.world != "embedded" or deployment.at not in plan.regions):
            yield (
                f"{key}.at: {deployment.at!r} is not among the regions of an embedded world: "
                f"{', '.join(plan.regions)}"
            )
        if deployment.fly_toml and find_asset(deployment.fly_toml) is None:
            yield f"{key}.fly_toml: there is no file {deployment.fly_toml!r}"


def scenario_faults(plan: Plan) -> Iterator[str]:
    """Yield what is wrong with a plan's scenario or locustfile, before it is read."""
    if plan.locustfile is not None and plan.load.model != "closed":
        yield (
            f"load.model: {plan.load.model!r} is not for a locustfile, whose users send when they "
            'are ready; write model = "closed", or leave out [locustfile]'
        )
    path = find_asset(plan.scenario)
    if path is None:
        yield f"scenario: there is no file {plan.scenario!r}; name a file with TTFBUser classes"
    elif not path.is_file() or path.suffix != ".py":
        kind = "a folder" if path.is_dir() else "no Python file"
        yield f"scenario: {plan.scenario!r} is {kind}; name a file.py with TTFBUser classes"
