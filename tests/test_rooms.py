"""The rooms of the house: who may import whom.  A module that no row lists fails the test."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "loadtest"

BASE = {"errors", "units", "clock", "assets", "regions"}
ANY = set(sys.stdlib_module_names)

# room -> (rooms of ours it may import, packages of others it may import)
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (set(), set()),
    "__main__": ({"cli"}, set()),
    "errors": (set(), set()),
    "units": (set(), set()),
    "clock": (set(), set()),
    "assets": (set(), set()),
    "regions": ({"assets"}, set()),
    "plan": (BASE, {"pydantic"}),
    "fly": (BASE, {"httpx"}),
    "world": (
        BASE | {"plan", "fly"},
        {"starlette", "uvicorn", "uvloop", "httptools", "psycopg"},
    ),
    "engine": (
        BASE | {"plan", "records"},
        {"locust", "gevent", "greenlet", "httptools", "brotli", "zmq", "msgpack", "psutil"},
    ),
    "records": (BASE, {"pyarrow"}),
    "analysis": (BASE | {"plan", "records"}, {"pandas", "numpy", "pyarrow"}),
    "gate": (BASE | {"plan", "analysis"}, {"numpy", "pandas"}),
    "report": (
        BASE | {"plan", "analysis", "gate"},
        {"matplotlib", "jinja2", "markupsafe", "numpy"},
    ),
    "refapp": (set(), {"starlette", "uvicorn", "uvloop", "psycopg", "psycopg_pool"}),
    "run": (
        BASE | {"plan", "fly", "world", "records", "analysis", "gate", "report"},
        {"httpx", "zmq"},  # zmq: makes the keys of a run; sockets are the engine's
    ),
    "terminal": (BASE, {"rich"}),
    "cli_options": (BASE | {"run", "terminal"}, {"click"}),
    "cli_gate": (BASE | {"plan", "run", "terminal", "cli_options"}, {"click"}),
    "cli": (BASE | {"plan", "run", "terminal", "cli_options", "cli_gate"}, {"click"}),
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return dotted names of everything a file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= (
                {f"loadtest.{a.name}" for a in node.names} if module == "loadtest" else {module}
            )
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    """Data flows one way: plan, world, engine, records | analysis, gate, report."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in ROOMS, f"{room} is in no row of the table"
    ours, others = ROOMS[room]

    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "loadtest":
            other = rest.split(".")[0]
            assert not other or other == room or other in ours, f"{path.name} imports {name}"
        else:
            assert top in ANY or top in others, f"{path.name} imports {name}"


def test_nothing_prints_past_the_terminal() -> None:
    """A room returns what it has to say; the terminal says it."""
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
        printed = [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
        assert not printed, path
