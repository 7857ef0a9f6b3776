"""Finds in a scenario's text what the client would refuse, so that it is told before any load."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtest.engine.client.constants import Constants
from loadtest.engine.client.options import REFUSED, VERIFY

_VERBS: Final = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "request"))
_OF_LOCUST: Final = ("context", "hooks")


def refused_calls(path: Path, *, insecure: bool, of_locust: bool = False) -> Iterator[str]:
    """
    Yield a sentence, with file and line, for every call of a user's client that cannot be.

    An option is known by its name, also in ``**options`` where that is a dictionary with names;
    its value by the text, as far as `Constants` can tell.  One whose value is computed is refused
    where no value but an empty one could be taken; else its request tells, and the run ends.

    Args:
        path: The scenario.
        insecure: Whether the plan lets certificates be unverified.
        of_locust: Whether ``context`` and ``hooks`` are taken, as for locustfiles.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError, OSError, ValueError):
        return  # the import tells it, with its line
    constants = Constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_of_client(node.func, constants):
            for name, value in constants.options(node):
                if why := _why(name, value, constants, insecure=insecure, of_locust=of_locust):
                    yield f"{path}, line {value.lineno}: {name}=: {why}"


def _is_of_client(function: ast.expr, constants: Constants) -> bool:
    """Tell whether something is a verb of ``client``, such as ``self.client.get``."""
    if not isinstance(function, ast.Attribute) or function.attr not in _VERBS:
        return False
    owner = function.value
    if isinstance(owner, ast.Name):
        owner = constants.bound(owner)
    return isinstance(owner, ast.Attribute) and owner.attr == "client"


def _why(
    name: str, value: ast.expr, constants: Constants, *, insecure: bool, of_locust: bool
) -> str:
    known, found = constants.value(value)
    if name == "verify":
        return VERIFY if known and found not in (True, None) and not insecure else ""
    if name not in REFUSED or (known and not found) or (of_locust and name in _OF_LOCUST):
        return ""
    return REFUSED[name]
