"""The rooms of the house: who may import whom.  A module that no row lists fails the test."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "loadtest"

BASE = {
    "errors",
    "frozen",
    "units",
    "clock",
    "assets",
    "regions",
    "text",
    "turns",
    "faults",
    "versions",
}
STANDARD = set(sys.stdlib_module_names)

# room -> (rooms of ours it may import, packages of others it may import); a sub-room's row stands
# for itself, and a room whose folder has sub-rooms speaks there of its own files alone.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "__init__": ({"run"}, set()),
    "__main__": ({"cli"}, set()),
    "errors": (set(), set()),
    "turns": (set(), set()),
    "frozen": ({"errors"}, set()),
    "units": (set(), set()),
    "text": (set(), set()),
    "clock": (set(), set()),
    "versions": (set(), set()),
    "assets": (set(), set()),
    "regions": ({"assets"}, set()),
    "faults": ({"errors", "units"}, set()),
    "kernel": (set(), set()),
    "lifeline": (set(), set()),
    "ping": (set(), set()),
    "plan": (BASE, {"pydantic", "yaml"}),
    "fly": (BASE, {"httpx"}),
    # WHERE: the emulated world, from what knows nothing to what knows all
    "world.guard": (set(), set()),
    "world.hosts": (BASE | {"kernel"}, set()),
    "world.links": (BASE | {"kernel"}, set()),
    "world.edge": (BASE | {"fly"}, {"httptools", "h2", "hpack", "trustme"}),
    "world.postgres": (BASE | {"kernel", "world.guard"}, {"psycopg"}),
    "world.caches": (BASE, set()),
    "world.images": (BASE | {"kernel", "world.guard"}, {"backports", "compression"}),
    "world.machines": (
        BASE
        | {"kernel", "fly", "records", "world"}
        | {"world.guard", "world.hosts", "world.images", "world.links", "world.edge"}
        | {"world.postgres", "world.caches"},
        {"dns"},
    ),
    "world.api": (
        BASE | {"fly", "records", "world.machines"},
        {"starlette", "uvicorn"},
    ),
    "world": (
        BASE
        | {"kernel", "world.api", "world.guard", "world.hosts", "world.machines", "world.postgres"},
        {"uvloop"},
    ),
    # DO: what every process of the engine shares, and its two kinds of process
    "engine.hub": (BASE | {"kernel"}, {"gevent"}),
    "engine.wire": (BASE | {"records"}, {"locust", "gevent", "zmq", "msgpack"}),
    "engine.client": (
        BASE | {"kernel", "records", "engine.hub"},
        {"gevent", "httptools", "brotli", "h2", "hpack", "hyperframe", "wsproto"}
        | {"dns", "idna", "backports", "compression"},
    ),
    "engine": (BASE | {"engine.client"}, {"locust"}),
    "engine.locustfile": (
        BASE | {"plan", "engine", "engine.client"},
        {"locust"},
    ),
    "engine.worker": (
        BASE
        | {"kernel", "plan", "records", "engine"}
        | {"engine.hub", "engine.client", "engine.wire", "engine.locustfile"},
        {"locust", "gevent", "psutil"},
    ),
    "engine.coordinator": (
        BASE | {"kernel", "plan", "records", "engine.hub", "engine.wire"},
        {"locust", "gevent"},
    ),
    "records": (BASE, {"pyarrow"}),
    "analysis": (BASE | {"plan", "records"}, {"pandas", "numpy", "pyarrow"}),
    "gate": (BASE | {"plan", "analysis"}, {"numpy"}),
    "report.base": (BASE | {"plan", "records", "analysis", "gate"}, {"matplotlib", "numpy"}),
    "report.figures": (BASE | {"report.base"}, {"matplotlib"}),
    "report.sections": (
        BASE | {"plan", "records", "analysis", "gate", "report.base", "report.figures"},
        {"numpy"},
    ),
    "report.pages": (
        BASE | {"records", "analysis", "gate", "report.base", "report.figures", "report.sections"},
        {"jinja2"},
    ),
    "report": (set(), set()),
    "refapp": ({"kernel", "turns"}, {"starlette", "uvicorn", "psycopg", "psycopg_pool", "valkey"}),
    "run": (
        BASE
        | {
            "plan",
            "fly",
            "world",
            "kernel",
            "world.caches",
            "world.guard",
            "world.hosts",
            "world.postgres",
            "world.images",
            "records",
            "analysis",
            "gate",
            "report.pages",
        },
        # pandas: what people open a run as; zmq: makes the keys of a run, sockets are the engine's
        {"httpx", "pandas", "zmq", "opentelemetry"},
    ),
    "live": (BASE | {"plan", "records", "run"}, set()),
    "terminal": (BASE, {"rich"}),
    "cli_words": (BASE | {"plan"}, {"click"}),
    "cli_options": (BASE | {"plan", "terminal", "cli_words"}, {"click"}),
    "cli_output": (BASE | {"run", "terminal"}, {"click"}),
    "keyboard": (BASE, set()),
    "cli_live": (
        BASE | {"keyboard", "live", "run", "terminal", "cli_options", "cli_output"},
        {"click"},
    ),
    "cli_gate": (
        BASE | {"plan", "run", "terminal", "cli_options", "cli_output", "cli_live", "cli_words"},
        {"click"},
    ),
    "cli_begin": (BASE | {"cli_words", "plan", "run", "report.base", "terminal"}, {"click"}),
    "cli_locust": (BASE | {"cli_words", "plan", "run", "terminal"}, {"click"}),
    "cli_fly": (BASE | {"run", "terminal", "cli_options"}, {"click"}),
    "cli_advise": (BASE | {"cli_words", "run", "terminal", "cli_options"}, {"click"}),
    "cli_own": (BASE | {"cli_words", "run", "terminal", "cli_options"}, {"click"}),
    "cli_world": (BASE | {"cli_words", "plan", "run", "terminal", "cli_options"}, {"click"}),
    "cli": (
        BASE
        | {"plan", "run", "terminal", "cli_options", "cli_output"}
        | {"cli_live", "cli_advise", "cli_begin", "cli_gate", "cli_fly", "cli_own", "cli_world"}
        | {"cli_locust", "cli_words"},
        {"click"},
    ),
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(dotted: str) -> str:
    """Return the room that a module (dotted, without our own name in front) belongs to."""
    parts = dotted.split(".")
    return ".".join(parts[:2]) if ".".join(parts[:2]) in ROOMS else parts[0]


def module_of(path: Path) -> str:
    """Return a file's dotted name without our own name in front."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a file, parsed; some hundred take seconds, and several tests look at all of them."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Return dotted names of everything a file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module.partition(".")[0] == "loadtest":
                names |= {f"{module}.{a.name}" for a in node.names}
            else:
                names.add(module)
    return frozenset(names)


def may_import(room: str, name: str) -> bool:
    ours, others = ROOMS[room]
    top, _, rest = name.partition(".")
    if top != "loadtest":
        return top in STANDARD or top in others
    return rest in ("", "__version__") or room_of(rest) in {room, *ours}


def test_every_module_stands_in_a_row_of_the_table() -> None:
    assert {room_of(module_of(path)) for path in MODULES} <= ROOMS.keys()


def test_a_module_imports_only_what_its_room_may() -> None:
    """Data flows one way: plan, world, engine, records | analysis, gate, report."""
    strange = [
        f"{module_of(path)} imports {name}"
        for path in MODULES
        for name in imports_of(path)
        if not may_import(room_of(module_of(path)), name)
    ]
    assert strange == []


def test_no_row_of_the_table_allows_what_nobody_needs() -> None:
    """A door that nobody uses is shut, so that the table tells how things are."""
    used: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        room = room_of(module_of(path))
        for name in imports_of(path):
            top, _, rest = name.partition(".")
            used[room].add(room_of(rest) if top == "loadtest" else top)
    idle = {
        room: unused
        for room, (ours, others) in ROOMS.items()
        if (unused := (ours - BASE | others) - used[room])
    }
    assert not idle


def test_no_two_modules_need_each_other() -> None:
    """Imports form no circle, late imports included."""
    names = {module_of(path) for path in MODULES}
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        wanted = set()
        for name in imports_of(path):
            rest = name.removeprefix("loadtest.")
            if rest not in names:
                rest = rest.rpartition(".")[0]
            wanted.add(rest)
        graph[module_of(path)] = wanted & names - {module_of(path)}
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"in a circle, or behind one: {sorted(left)}"


def test_a_public_class_name_means_one_thing() -> None:
    """Two classes of one name are two words for the price of one misunderstanding."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_nothing_prints_past_the_terminal() -> None:
    """A room returns what it has to say; the terminal says it."""
    for path in MODULES:
        calls = [n.func for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)]
        printed = [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
        assert not printed, path
