"""Faults of what a run tells of itself: plan.json, world.json, engine.json, manifest.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mutation import Path as Place
from mutation import holder_of, paths_of
from stored import UNTRUSTED, Fault, Stored

from loadtest.plan.prints import JUDGED

GONE = object()
NUMBERS: dict[str, Any] = {
    "removed": GONE,
    "null": None,
    "text": "x",
    "list": [],
    "true": True,
    "negative": -1,
    "not a number": math.nan,
    "infinite": math.inf,
    "over 64 bits": 2**70,
}
OTHERS: dict[str, Any] = {"removed": GONE, "null": None, "number": 7, "list of a number": [7]}

PASSES = frozenset({"pass"})
EITHER = UNTRUSTED | PASSES | {"none"}


def accounts(folder: Path) -> Iterator[Fault]:
    """Yield each fault of each key of a run's accounts."""
    for name in ("engine.json", "world.json", "plan.json"):
        content = json.loads((folder / name).read_text())
        for place in paths_of(content):
            if _is_first(place):
                yield from _of_key(name, place, holder_of(content, place)[place[-1]])


def _is_first(place: Place) -> bool:
    """Keep one of several alike: the first worker, link, moment."""
    return all(part == 0 for part in place if isinstance(part, int))


def _of_key(name: str, place: Place, value: Any) -> Iterator[Fault]:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    for how, odd in (NUMBERS if numeric else OTHERS).items():
        if odd is None and value is None:
            continue  # no fault: it is so
        shown = ".".join(map(str, place))
        ends, told, noted = _expected(name, place, how)
        fault = f"{name}: {shown}: {how}"
        yield Fault(fault, _put(name, place, odd), told, ends, noted=noted)


def _put(name: str, place: Place, odd: Any) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        if odd is not GONE:
            stored.put(name, place, odd)
            return

        def remove(content: Any) -> None:
            del holder_of(content, place)[place[-1]]

        stored.edit(name, remove)

    return bend


SHOWN: dict[str, dict[str, Any]] = {
    "engine.json": {
        **dict.fromkeys(("versions.loadtest", "versions.locust", "versions.python"), ("removed",)),
        **dict.fromkeys(("workers.0.versions.locust", "workers.0.versions.python"), ("removed",)),
        "workers.0.timeline.0": ("removed",),
        "workers.0.timeline.0.steal_share": ("null",),
        "workers.0.timeline.0.t_s": ("negative",),
        "workers.0.clock.offset_us": ("negative",),
    },
    "world.json": {
        **{f"machine.{key}": ("null",) for key in ("cpus", "kernel", "memory_mb")},
        **dict.fromkeys(("versions.loadtest", "versions.python"), ("removed",)),
        "postgres": ("null",),
        "watch.moments.0": ("removed",),
        "watch.pairs.0.rtt_us.0": ("null",),
    },
    "plan.json": {},
}  # fmt: skip
"""What is shown and not judged, or may be so in a good run."""

OTHER_WORDS = {
    **{
        f"world.json: watch.pairs.0.{place}": "not as many pings as round trips"
        for key in ("rtt_us", "sent_ms")
        for place in (f"{key}: list of a number", f"{key}.0: removed")
    },
    "world.json: watch.pairs.0: removed": "lacks its links",
    "engine.json: segments.0: removed": "a block that was not ordered",
    "engine.json: workers.0: removed": "a worker that left no account",
    "engine.json: workers.0.health.steal_share_max: null": "health.steal_share",
    "world.json: links.0.measured_rtt_p95_ms: null": "..p95_ms: no match",
}


def _expected(name: str, place: Place, how: str) -> tuple[frozenset[str], str, str]:
    """Return the right outcomes of a fault, a word that has to be said, one if it passes."""
    shown = ".".join(map(str, place))
    noted = "sealed again by hand"
    if how in SHOWN[name].get(shown, ()) or (shown[:6] == "edges." and how == "removed"):
        return PASSES, "", noted
    words = [part for part in place if isinstance(part, str)]
    told = OTHER_WORDS.get(f"{name}: {shown}: {how}", words[-1])
    if name != "plan.json":
        return UNTRUSTED, told, noted
    if place[0] in JUDGED and len(place) > 1:
        return EITHER, words[0], f"not those it was measured for: {words[0]}"
    return UNTRUSTED, words[0], noted


def manifests() -> Iterator[Fault]:
    """Yield faults of the seal itself."""
    odd: dict[str, Any] = {
        "removed": GONE, "null": None, "number": 7, "list": [], "text": "x",
    }  # fmt: skip
    for key in ("schema", "sealed", "sha256"):
        for how, value in odd.items():
            yield Fault(
                f"manifest.json: {key}: {how}",
                _put("manifest.json", (key,), value),
                "is no manifest of this version",
                sealed=False,
            )
    for name in ("plan.json", "world.json", "engine.json", "records.parquet"):
        place = ("sha256", name)
        words = "added or taken away" if name else ""
        yield Fault(
            f"manifest.json: without {name}",
            _put("manifest.json", place, GONE),
            words,
            sealed=False,
        )
        for how, value in (("another hash", "0" * 64), ("null", None), ("number", 7)):
            yield Fault(
                f"manifest.json: {name}: {how}",
                _put("manifest.json", place, value),
                "not as it was when the run was sealed",
                sealed=False,
            )
    yield Fault(
        "manifest.json: another file",
        _put("manifest.json", ("sha256", "report.html"), "0" * 64),
        "is no manifest",
        sealed=False,
    )


def stories() -> Iterator[Fault]:
    """Yield accounts that are whole and cannot be true."""
    for name, place, value, told in (
        ("engine.json", ("workers",), [], "no account"),
        ("engine.json", ("workers",), [{}], "workers[0]"),
        ("engine.json", ("workers", 0, "health"), {}, "health"),
        ("engine.json", ("workers", 0, "self_check"), {}, "self_check"),
        ("engine.json", ("workers", 0, "clock"), {}, "clock"),
        ("engine.json", ("workers", 0, "rows"), {}, "rows"),
        ("engine.json", ("workers", 0, "timeline"), [], "timeline"),
        ("engine.json", ("workers", 0, "state"), "lost", "lost"),
        ("engine.json", ("workers", 0, "state"), "running", "running"),
        ("engine.json", ("workers", 0, "state"), "", "left no word"),
        ("engine.json", ("workers", 0, "id"), "cdg-9", "left no account"),
        ("engine.json", ("workers", 1, "id"), "cdg-0", "is there twice"),
        ("engine.json", ("workers", 0, "region"), "ord", "a region that"),
        ("engine.json", ("workers", 0, "region"), "zzz", "a region that"),
        ("engine.json", ("workers", 0, "rows", "sent"), 7, "7 rows sent"),
        ("engine.json", ("workers", 0, "rows", "received"), 7, "7 received"),
        ("engine.json", ("workers", 0, "rows", "merged"), 7, "7 merged"),
        ("engine.json", ("workers", 0, "rows", "missing"), 7, "7 are known to be missing"),
        ("engine.json", ("workers", 0, "rows", "scheduled"), 7, "rows.scheduled"),
        ("engine.json", ("workers", 0, "health", "dropped"), 7, "dropped 7 arrivals"),
        ("engine.json", ("workers", 0, "health", "loop_lag_p50_us"), 300, "loop_lag"),
        ("engine.json", ("workers", 0, "health", "loop_lag_p99_us"), 90_000, "loop_lag"),
        ("engine.json", ("workers", 0, "health", "lateness_p50_us"), 900, "lateness"),
        ("engine.json", ("workers", 0, "health", "cpu_share_mean"), 0.5, "cpu_share"),
        ("engine.json", ("workers", 0, "health", "steal_share_mean"), 0.5, "steal_share"),
        ("engine.json", ("workers", 0, "health", "gc_pause_max_us"), 10_000, "gc_pause"),
        ("engine.json", ("workers", 0, "self_check", "bias_p50_us"), 46.0, "self_check.bias"),
        ("engine.json", ("workers", 0, "self_check", "n"), 0, "self_check.n"),
        ("engine.json", ("workers", 0, "clock", "exchanges"), 0, "clock.exchanges"),
        ("engine.json", ("workers", 0, "clock", "uncertainty_us"), 1e6, "uncertain"),
        ("engine.json", ("state",), "failed", "did not come to its planned end"),
        ("engine.json", ("state",), "stopped", "did not come to its planned end"),
        ("engine.json", ("state",), "steady", "did not come to its planned end"),
        ("engine.json", ("state",), "", "did not come to its planned end"),
        ("engine.json", ("schedule", "arrivals"), 0, "schedule.arrivals"),
        ("engine.json", ("schedule", "fingerprint"), "f" * 64, "schedule.fingerprint"),
        ("engine.json", ("segments",), [], "not ordered"),
        ("engine.json", ("segments", 0, "blocks"), 100, "100 blocks of segment 0"),
        ("engine.json", ("segments", 0, "segment"), 1, "of segment 1"),
        ("engine.json", ("plan",), {}, "not as in the plan"),
        ("engine.json", ("plan", "load"), "0" * 32, "load: not as in the plan"),
        ("engine.json", ("schema",), 1, "schema 1"),
        ("engine.json", ("schema",), 3, "schema 3"),
        ("world.json", ("schema",), 9, "schema 9"),
        ("plan.json", ("schema",), 9, "schema 9"),
        ("world.json", ("kind",), "fly", "its links were not measured"),
        ("world.json", ("exchanges",), 1, "whose machines keep their places"),
        ("world.json", ("kind",), "mars", "'mars' is not one of"),
        ("world.json", ("links",), [], "were not measured"),
        ("world.json", ("links", 0, "from"), "syd", "is there twice"),
        ("world.json", ("links", 0, "ok"), False, "says itself"),
        ("world.json", ("links", 0, "n"), 0, "no match"),
        ("world.json", ("links", 0, "configured_rtt_ms"), 105.0, "was set to 105 ms"),
        ("world.json", ("links", 0, "measured_rtt_p50_ms"), 90.0, "is off by"),
        ("world.json", ("links", 0, "measured_rtt_p95_ms"), 90.0, "is below the median"),
        ("world.json", ("regions",), ["cdg"], "regions"),
        ("world.json", ("primary_region",), "syd", "primary_region"),
        ("world.json", ("run", "id"), "another", "is of run another"),
        ("plan.json", ("seed",), 1, "seed: not as in"),
        ("plan.json", ("regions",), ["cdg"], "regions"),
        ("plan.json", ("regions",), ["ord", "cdg"], "regions: not as in"),
        ("plan.json", ("primary_region",), "ord", "primary_region: not as in"),
        ("plan.json", ("deployments", 0, "name"), "other", "deployments: not as in"),
        ("plan.json", ("deployments", 0, "machines"), "all", "deployments: not as in"),
        ("plan.json", ("deployments", 2, "measured_from"), ["cdg"], "deployments: not as in"),
        ("plan.json", ("load", "rate"), 20.0, "load: not as in"),
        ("plan.json", ("load", "duration_s"), 60.0, "load: not as in"),
        ("plan.json", ("load", "model"), "closed", "load: not as in"),
        ("plan.json", ("load", "arrivals"), "poisson", "load: not as in"),
        ("plan.json", ("network", "rtt_ms", "cdg-ord"), 1.0, "network: not as in"),
        ("plan.json", ("network", "tolerance_ms"), 500.0, "network: not as in"),
        ("plan.json", ("generator", "workers_per_region"), 2, "generator: not as in"),
        ("plan.json", ("expect",), [200, 500], "expect: not as in"),
        ("plan.json", ("world",), "fly", "world: not as in"),
        ("plan.json", ("scenario",), "other.py", "scenario: not as in"),
        ("plan.json", ("thresholds",), ["ttfb.p50 <"], "thresholds"),
    ):
        shown = ".".join(map(str, place))
        odd: Any = value
        yield Fault(f"{name}: {shown} = {value!r:.40}", _put(name, place, odd), told)
    for part, value in (("thresholds", ["ttfb.p50 < 9s"]), ("title", "Another")):
        yield Fault(
            f"plan.json: {part} loosened and vouched for",
            _put("plan.json", (part,), value),
            "",
            PASSES,
            noted=f"not those it was measured for: {part}",
        )
