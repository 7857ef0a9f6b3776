"""
What one room gives another has a type: no `Any` in what is public and used from outside.

JSON is read into types where it comes in: what a ``from_json`` is given, and what the ``json`` of a
response gives the author of a scenario, is the one thing that nobody has looked at yet.  The files
of the command line are one room here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from test_rooms import MODULES, module_of, room_of, tree_of

Function = ast.FunctionDef | ast.AsyncFunctionDef
BARE = {"dict", "list", "tuple", "Mapping", "Sequence"}
"""Types that say nothing of what is in them where they stand alone."""


@cache
def trees() -> dict[str, ast.Module]:
    return {module_of(path): tree_of(path) for path in MODULES}


def side_of(module: str) -> str:
    room = room_of(module)
    return "cli" if room.startswith("cli") else room


def doors() -> set[tuple[str, str]]:
    """Return module and name of all that rooms import of each other."""
    found = set()
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loadtest"):
                of = (node.module or "").removeprefix("loadtest").removeprefix(".")
                for alias in node.names:
                    whole = f"{of}.{alias.name}".removeprefix(".")
                    if side_of(whole) != side_of(module):
                        inside = trees().get(whole)
                        names = [alias.name] if inside is None else public_names(inside)
                        found |= {(of if inside is None else whole, name) for name in names}
    return found


def public_names(tree: ast.Module) -> list[str]:
    named = [n.name for n in tree.body if isinstance(n, Function | ast.ClassDef)]
    return [name for name in named if not name.startswith("_")]


def loose_in(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield what is loose in the types of one public name of a module."""
    aliases = {"Any"} | {alias for alias, kind in assigned(tree) if is_loose(kind, {"Any"})}
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and node.name == name:
            parts = [("", node)] if isinstance(node, Function) else members(node)
            for inside, kind in parts:
                if any(is_loose(one, aliases) for one in types_in(kind)):
                    yield f"{name}.{inside}".removesuffix(".")
    if name in aliases:
        yield name


def assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def members(node: ast.ClassDef) -> Iterator[tuple[str, Function | ast.expr]]:
    for part in node.body:
        if isinstance(part, Function) and (part.name == "__init__" or part.name[0] != "_"):
            yield part.name, part
        elif isinstance(part, ast.AnnAssign):
            name = ast.unparse(part.target)
            if not name.startswith("_"):
                yield name, part.annotation


def types_in(node: Function | ast.expr) -> list[ast.expr]:
    if not isinstance(node, Function):
        return [node]
    given = node.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    if node.name == "from_json":
        arguments = []
    answer = None if node.name == "json" else node.returns
    kinds = [a.annotation for a in arguments if a is not None] + [answer]
    return [kind for kind in kinds if kind is not None]


def is_loose(kind: ast.expr, loose: set[str]) -> bool:
    if isinstance(kind, ast.Name) and kind.id in BARE:
        return True
    return bool(loose & set(words(kind)))


def words(kind: ast.AST) -> Iterator[str]:
    """Yield the names in a type; an array of numbers is one, of whatever width."""
    if isinstance(kind, ast.Name):
        yield kind.id
    elif isinstance(kind, ast.Subscript) and ast.unparse(kind.value) in ("NDArray", "np.integer"):
        return
    elif not isinstance(kind, ast.Call):
        for part in ast.iter_child_nodes(kind):
            yield from words(part)


def test_what_a_room_gives_another_has_a_type() -> None:
    found = {
        f"{module}.{what}"
        for module, name in doors()
        if module in trees()
        for what in loose_in(trees()[module], name)
    }
    assert found == set()


def test_a_loose_type_is_found_wherever_it_stands() -> None:
    tree = ast.parse(
        "Json = dict[str, Any]\n"
        "def one(a: Mapping[str, list[Any]]) -> None: ...\n"
        "def two(a: int, *, b: Json | None) -> None: ...\n"
        "def three(a: dict) -> None: ...\n"
        "def four(a: NDArray[Any], b: dict[str, object]) -> tuple[int, ...]: ...\n"
        "class Five:\n"
        "    x: Callable[[int], Any]\n"
        "    def y(self, **more: Any) -> int: ...\n"
        "    def from_json(self, content: Any) -> int: ...\n"
        "    def json(self) -> Any: ...\n"
        "    def _z(self) -> Any: ...\n"
    )
    names = ("Json", "one", "two", "three", "four", "Five")
    found = [what for name in names for what in loose_in(tree, name)]
    assert found == ["Json", "one", "two", "three", "Five.x", "Five.y"]
