"""How to run it again, what everything was made of, what the words mean, what is not claimed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from loadtest.report.base.glossary import LIMITS_ALWAYS, LIMITS_EMBEDDED, TERMS
from loadtest.report.base.view import Block, Code, Definitions, Files, Heading, Section, Table, Text
from loadtest.report.base.words import LAYERS, count

if TYPE_CHECKING:
    from loadtest.plan.model import Plan
    from loadtest.report.base.context import Context


AGAIN: Final = "loadtest analyze ."
FILES: Final = (
    ("records.parquet", "one row a request"),
    ("summary.json", "every cell and page in numbers"),
    ("verdict.json", "every rule in every cell"),
    ("junit.xml", "the verdict for a build server"),
    ("plan.json", "the plan, every setting resolved"),
    ("world.json", "regions, links, machines"),
    ("engine.json", "the load generator's account of itself"),
)


def section_reproduce(context: Context) -> Section:
    """Return the last section of a report."""
    run = context.run
    embedded = run.world.kind == "embedded"
    limits = (*(LIMITS_EMBEDDED if embedded else ()), *LIMITS_ALWAYS)
    blocks: list[Block] = [
        *([Code("The same run again", context.command)] if context.command else []),
        Code("The same numbers from the stored records, in this report's folder", AGAIN),
        Files(FILES),
        _inputs(context),
        Heading("Words"),
        Definitions(TERMS),
        Heading("What this is not"),
        *(Text(limit) for limit in limits),
    ]
    return Section(
        "reproduce", "How to reproduce, and what the words mean", "Reproduce", tuple(blocks)
    )


def plan_hash(plan: Plan) -> str:
    """Return a fingerprint of the resolved plan: equal exactly when every setting is equal."""
    text = json.dumps(plan.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _inputs(context: Context) -> Table:
    plan, world, engine = context.plan, context.run.world, context.run.engine
    load, layer = plan.load, world.link_layer or "none"
    versions = {**world.versions, **(engine.versions if engine else {})}
    arrivals = engine.schedule.arrivals if engine else 0
    print_ = engine.schedule.fingerprint[:16] if engine else ""
    rows = [
        ("plan", f"{plan.name}, sha256 {plan_hash(plan)[:16]}"),
        ("seed", str(plan.seed)),
        (
            "schedule",
            f"{schedule_words(plan)}; {count(arrivals)} arrivals, sha256 {print_ or 'unknown'}",
        ),
        ("blocks", f"{load.block_s:g} s, arms in random order inside each"),
        ("scenario", plan.scenario),
        ("targets", ", ".join(context.targets)),
        ("client", "; ".join(context.client) or "as it comes"),
        ("revisions", "; ".join(context.revisions) or "none"),
        ("pages", ", ".join(context.pages) or "none"),
        ("world", world.kind),
        ("machines", LAYERS.get(layer, layer)),
        ("round-trip times", plan.network.rtt),
        ("base times of the app", plan.base),
        ("database", f"PostgreSQL {world.postgres.version}" if world.postgres else "none"),
        ("machine", context.machine or "unknown"),
        ("versions", ", ".join(f"{name} {value}" for name, value in sorted(versions.items()))),
    ]
    return Table("inputs", "What the run was made of", ("input", "value"), tuple(rows), "lw")


def schedule_words(plan: Plan) -> str:
    """Return the load in words: model, rate, duration."""
    load = plan.load
    if load.stages:
        rate = f"{len(load.stages)} stages over {sum(s.duration_s for s in load.stages):g} s"
    else:
        lowered = f" (of {load.asked_rate:g}: a target carries no more)" if load.asked_rate else ""
        rate = f"{load.rate:g} arrivals/s in each cell{lowered} for {load.duration_s:g} s"
    if load.model == "closed":
        return f"closed model, {load.users} users in each cell for {load.duration_s:g} s"
    return f"open model, {load.arrivals}, {rate} after {load.warmup_s:g} s of warm-up"
