"""The region table: code, city, coordinates, and whether Fly still offers the region."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cache

from loadtest.assets import data_file

HERE = "here"
"""Stands where a region would when a URL is measured from this machine, with nothing between."""


@dataclass(frozen=True, slots=True)
class Region:
    """One region: latitude and longitude in degrees, north and east positive."""

    code: str
    city: str
    latitude: float
    longitude: float
    status: str
    replacement: str

    @property
    def retired(self) -> bool:
        """Tell whether Fly refuses new machines here."""
        return self.status.startswith("retired")


@cache
def region_table() -> dict[str, Region]:
    """Return every known region by its code, as of the date in the data file's header."""
    with data_file("regions.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: Region(
                code=row["code"],
                city=row["city"],
                latitude=float(row["latitude"]),
                longitude=float(row["longitude"]),
                status=row["status_2026_08"],
                replacement=row["replacement"],
            )
            for row in csv.DictReader(file)
        }


def city_of(code: str) -> str:
    """Return the city of a region, or empty text."""
    if code == HERE:
        return "this machine"
    known = region_table().get(code)
    return known.city if known else ""


def suggest_regions(code: str) -> list[str]:
    """Return up to three known codes that look or sound like ``code``, the likeliest first."""
    table = region_table()
    by_city = {region.city.lower(): region.code for region in table.values()}
    near = difflib.get_close_matches(code.lower(), [*table, *by_city], n=5, cutoff=0.3)
    return list(dict.fromkeys(by_city.get(name, name) for name in near))[:3]
