"""What a Python text says of values without being run: literals, and names bound to them once."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeGuard

_CHANGES = ("update", "pop", "popitem", "setdefault", "clear")
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Constants:
    """
    The names of one file that stand for a value which nothing changes.

    A name counts if the whole file binds it once, wherever that is, by a plain assignment, and
    changes nothing in it; an attribute such as ``self.OPTIONS`` likewise.

    Args:
        tree: The file.
    """

    def __init__(self, tree: ast.AST) -> None:
        self._values: dict[str, ast.expr] = {}
        self._times: Counter[str] = Counter()
        for node in ast.walk(tree):
            self._note(node)

    def bound(self, node: ast.expr) -> ast.expr:
        """Return what a name or attribute is bound to; anything else as it is."""
        name = _name_of(node)
        return self._values[name] if name in self._values and self._times[name] == 1 else node

    def value(self, node: ast.expr) -> tuple[bool, Any]:
        """Return whether the text tells a value, and the value."""
        try:
            return True, ast.literal_eval(self.bound(node))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False, None

    def options(self, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """Yield the named arguments of a call, those of ``**`` with a dictionary among them."""
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword.value
            else:
                yield from self._entries(keyword.value, 0)

    def _entries(self, node: ast.expr, depth: int) -> Iterator[tuple[str, ast.expr]]:
        """Yield the entries of a dictionary whose names stand in the text; a later one wins."""
        found, node = dict[str, ast.expr](), self.bound(node)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None and depth < 8:
                    found |= dict(self._entries(value, depth + 1))
                elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                    found[key.value] = value
        elif isinstance(node, ast.Call) and _name_of(node.func) == "dict" and not node.args:
            found |= dict(self.options(node)) if depth < 8 else {}
        yield from found.items()

    def _note(self, node: ast.AST) -> None:
        """Count what binds or changes a name."""
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            self._values[_name_of(node.targets[0])] = node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._values[_name_of(node.target)] = node.value
        if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            self._times[_name_of(node)] += 1
        elif _changes(node):
            self._times[_name_of(node.value)] += 2
        elif isinstance(node, ast.AugAssign):
            self._times[_name_of(node.target)] += 2
        elif isinstance(node, ast.arg):
            self._times[node.arg] += 2
        elif isinstance(node, _SCOPES):
            self._times[node.name] += 2
        elif isinstance(node, ast.alias):
            self._times[(node.asname or node.name).partition(".")[0]] += 2


def _changes(node: ast.AST) -> TypeGuard[ast.Subscript | ast.Attribute]:
    """Tell whether something changes a dictionary."""
    if isinstance(node, ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Attribute) and node.attr in _CHANGES


def _name_of(node: ast.expr) -> str:
    """Return the name of a variable or attribute; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
