"""Looks up what the emulated network and the emulated app need: round-trip times and base times."""

from __future__ import annotations

import csv
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from loadtest.assets import data_file
from loadtest.errors import PlanError

PUBLISHED_ERA = "published-era"
NEUTRAL = "neutral"
PUBLISHED = "published"
MAX_RTT_MS = 5_000.0
ROUND_TRIPS_FILE = "round-trips.csv"
"""File of a run's folder that holds what its machines measured between themselves."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times in milliseconds and where each comes from, both by ``a-b``, a before b."""

    rtt_ms: dict[str, float]
    sources: dict[str, str]


def pair_key(a: str, b: str) -> str:
    """Return the key of a pair of regions, the same for both directions."""
    return "-".join(sorted((a, b)))


def round_trips(rtt: str, regions: Iterable[str], given: Mapping[str, float]) -> RoundTrips:
    """
    Return the round-trip time of every pair of the regions.

    Args:
        rtt: ``published-era``, ``neutral``, the path of a CSV file (from, to, rtt_ms), or the
            folder of a run on Fly, whose machines have measured it.
        regions: Region codes.
        given: Pairs set in the plan itself; they win.

    Raises:
        PlanError: The file cannot be read, a value is no round-trip time, or a pair is missing.
    """
    layers: list[tuple[str, dict[str, tuple[float, str]]]] = []
    if rtt == PUBLISHED_ERA:
        layers.append((rtt, _read(data_file("rtt-published-era.csv"))))
    elif rtt != NEUTRAL:
        layers.append((rtt, _read(Path(rtt))))
    if rtt in (PUBLISHED_ERA, NEUTRAL):
        layers.append((NEUTRAL, _read(data_file("rtt.csv"))))
    rtt_ms: dict[str, float] = {}
    sources: dict[str, str] = {}
    faults = [f"network.rtt_ms: {key!r} is no pair of region codes such as 'cdg-ord'"
              for key in given if key.count("-") != 1]  # fmt: skip
    by_pair = {pair_key(*key.split("-")): value for key, value in given.items() if "-" in key}
    for a, b in combinations(sorted(set(regions)), 2):
        key = pair_key(a, b)
        if key in by_pair:
            rtt_ms[key], sources[key] = by_pair[key], "the plan"
            continue
        for _name, table in layers:
            if key in table:
                rtt_ms[key], sources[key] = table[key]
                break
        else:
            faults.append(
                f"network.rtt: {rtt[:200]!r} has no round-trip time for {key}; add the pair to the "
                f"file, or set it in the plan: [network.rtt_ms] {key} = 100.0"
            )
    if faults:
        raise PlanError(*faults)
    return RoundTrips(rtt_ms, sources)


def base_times_ms(base: str, regions: Iterable[str]) -> dict[str, float]:
    """
    Return the time that the app waits in each region, in milliseconds.

    A region that the published tables do not have takes the median of those that they have.

    Args:
        base: ``published``, a number of milliseconds, or the path of a CSV (region, base_ms).
        regions: Region codes.

    Raises:
        PlanError: Neither of the three, or a region is missing from the file.
    """
    codes = list(regions)
    if base == PUBLISHED:
        table = published_replica_ms()
        middle = round(statistics.median(table.values()), 1)
        return {code: table.get(code, middle) for code in codes}
    try:
        constant = float(base)
    except ValueError:
        return _base_file(Path(base), codes)
    if not 0 <= constant <= MAX_RTT_MS:
        raise PlanError(f"base: {base[:200]!r} is not between 0 and {MAX_RTT_MS:g} milliseconds")
    return dict.fromkeys(codes, constant)


def published_replica_ms() -> dict[str, float]:
    """Return the published TTFB of the replica deployment by region, in milliseconds."""
    with data_file("published-ttfb.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["region"]: float(row["ttfb_ms"])
            for row in csv.DictReader(file)
            if row["deployment"] == "replica"
        }


def _base_file(path: Path, codes: list[str]) -> dict[str, float]:
    if not os.path.isfile(path):  # unlike Path.is_file, no error for what is too long for a name
        raise PlanError(
            f"base: {str(path)[:200]!r} is neither 'published', a number of milliseconds such as "
            "'0', nor a CSV file with the columns region,base_ms"
        )
    table: dict[str, float] = {}
    for number, row in _rows(path, "base"):
        try:
            value = float(row["base_ms"])
            table[row["region"]] = value
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(
                f"base: {path}, line {number}: want region,base_ms; {_reason(error)}"
            ) from error
        if not 0 <= value <= MAX_RTT_MS:
            raise PlanError(
                f"base: {path}, line {number}: {value} is not between 0 and "
                f"{MAX_RTT_MS:g} milliseconds"
            )
    if missing := [code for code in codes if code not in table]:
        raise PlanError(f"base: {path} has no row for {', '.join(missing)}")
    return {code: table[code] for code in codes}


def _read(path: Path) -> dict[str, tuple[float, str]]:
    """Read a CSV of round-trip times into pair -> (milliseconds, source)."""
    if os.path.isdir(path):
        path = path / ROUND_TRIPS_FILE
        if not os.path.isfile(path):
            raise PlanError(
                f"network.rtt: {str(path.parent)[:200]!r} is a folder without {ROUND_TRIPS_FILE}; "
                "a run on Fly in two regions or more has one, unless it said that it could not "
                "measure"
            )
    if not os.path.isfile(path):  # as above
        raise PlanError(
            f"network.rtt: {str(path)[:200]!r} is neither 'published-era', 'neutral', a CSV file "
            "nor the folder of a run on Fly"
        )
    table: dict[str, tuple[float, str]] = {}
    for number, row in _rows(path, "network.rtt"):
        try:
            value = float(row["rtt_ms"])
            key = pair_key(row["from"], row["to"])
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(
                f"network.rtt: {path}, line {number}: want from,to,rtt_ms; {_reason(error)}"
            ) from error
        if not 0 <= value <= MAX_RTT_MS:
            raise PlanError(
                f"network.rtt: {path}, line {number}: {value} is not between 0 and "
                f"{MAX_RTT_MS:g} milliseconds"
            )
        table[key] = (value, row.get("source") or row.get("set") or path.name)
    return table


def _rows(path: Path, key: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield a CSV's rows with their numbers; what cannot be read is a fault of the plan's key."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets add a BOM
            yield from enumerate(csv.DictReader(file), start=2)
    except (csv.Error, UnicodeDecodeError) as error:
        raise PlanError(f"{key}: {path}: is no CSV in UTF-8: {error}") from error
    except OSError as error:
        raise PlanError(f"{key}: {path}: cannot be read: {error.strerror}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no column {error}"
    return "a value is missing" if isinstance(error, TypeError) else str(error)[:200]
