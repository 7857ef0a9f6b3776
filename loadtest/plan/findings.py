"""What the checker of a plan finds, as sentences: the key, the bad value, what is allowed."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pydantic
from pydantic import BaseModel

from loadtest.plan.model import Plan

_KEPT: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What a path is sent with as it is."""


def findings(error: pydantic.ValidationError) -> Iterator[str]:
    """Turn the checker's findings into sentences: key, value, what is allowed."""
    found = error.errors()
    for item in found:
        loc = tuple(part for part in item["loc"])
        if item["type"] == "too_short" and any(one["loc"][:-1] == loc for one in found):
            continue  # what was refused was one too few, and is told itself
        key = ".".join(str(part) for part in loc)
        if item["type"] == "extra_forbidden":
            allowed = _allowed_keys(loc[:-1])
            near = difflib.get_close_matches(str(loc[-1]), allowed, n=1)
            hint = f"; did you mean {near[0]!r}? Allowed" if near else "; allowed"
            yield f"{key}: unknown key{hint} here: {', '.join(allowed)}"
        elif item["type"] == "missing":
            yield f"{key}: missing; the plan must set it"
        else:
            one = item["input"]
            hint = f"; write [{one!r}]" if item["type"] == "tuple_type" and one else ""
            if isinstance(one, str) and one.startswith("/") and not one.isascii():
                hint = f"; write {quote(one, safe=_KEPT)!r}"
            yield f"{key}: {one!r} is not allowed: {item['msg']}{hint}"


def _allowed_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the plan knows at a place."""
    model: type[BaseModel] = Plan
    for part in loc:
        if isinstance(part, int):
            continue
        inner = _model_in(model.model_fields[part].annotation)
        if inner is None:
            return []
        model = inner
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None
