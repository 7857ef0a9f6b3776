"""Finds in a scenario's text what the client would refuse, so that it is told before any load."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtest.engine.client.options import REFUSED, VERIFY

_VERBS: Final = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "request"))
_OF_LOCUST: Final = ("context", "hooks")
_HARMLESS: Final = (None, False, "", 0)


def refused_calls(path: Path, *, insecure: bool, of_locust: bool = False) -> Iterator[str]:
    """
    Yield a sentence, with file and line, for every call of a user's client that cannot be.

    Only what the text itself says is seen: an option whose value is computed is told by the call.

    Args:
        path: The scenario.
        insecure: Whether the plan lets certificates be unverified.
        of_locust: Whether ``context`` and ``hooks`` are taken, as for locustfiles.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return  # the import tells it, with its line
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_of_client(node.func):
            for keyword in node.keywords:
                if why := _why(keyword, insecure=insecure, of_locust=of_locust):
                    yield f"{path}, line {keyword.value.lineno}: {keyword.arg}=: {why}"


def _is_of_client(function: ast.expr) -> bool:
    """Tell whether something is a verb of ``client``, such as ``self.client.get``."""
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _VERBS
        and isinstance(function.value, ast.Attribute)
        and function.value.attr == "client"
    )


def _why(keyword: ast.keyword, *, insecure: bool, of_locust: bool) -> str:
    known = isinstance(keyword.value, ast.Constant)
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else True
    name = keyword.arg or ""
    if name == "verify":
        return VERIFY if known and value not in (True, None) and not insecure else ""
    if name not in REFUSED or value in _HARMLESS or (of_locust and name in _OF_LOCUST):
        return ""
    return REFUSED[name]
