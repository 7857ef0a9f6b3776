"""
Frozen types as JSON, and back: how everything of ours that is written down or sent is read.

Content is read into a type or refused by the name of the key that is missing, unknown or of the
wrong kind: a key that changes its name on one side must not look like "not measured here".  A
number is a count or a length unless it is ``Signed``: below zero it is no measurement, nor is one
that no clock or counter of 64 bits can have shown.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, NewType, Protocol, TypeVar, cast

from loadtest.errors import RecordsError

T = TypeVar("T")
Signed = NewType("Signed", float)
"""A number that may be below zero: an offset, or a moment before the run's beginning."""

LARGEST: Final = 2**63 - 1


class FrozenType(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def to_json(value: FrozenType) -> dict[str, object]:
    """Return a frozen type as JSON knows it; `read` is the way back."""
    return {_key(f.name): _json(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def read(kind: type[T], content: object, where: str) -> T:
    """
    Read JSON into a frozen type.

    Args:
        kind: A dataclass; its fields are the keys, their types the kinds of values.  A key whose
            field has a default may be absent; ``from_`` is the key ``from``, which is a word of the
            language.
        content: What the file holds there.
        where: Path of it, for a message.

    Raises:
        RecordsError: A key is missing, unknown, or its value of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise RecordsError(f"{where}: want an object, found {type(content).__name__}")
    hints, optional = _hints(cast(Any, kind))
    for key in hints:
        if key not in content and key not in optional:
            raise RecordsError(f"{where}.{key}: missing; this account of the run is not complete")
    for key in content:
        if key not in hints:
            raise RecordsError(f"{where}.{key}: unknown; another version of loadtest wrote it")
    given = {key: hint for key, hint in hints.items() if key in content}
    values = [_value(h, content[key], f"{where}.{key}") for key, h in given.items()]
    names = [
        field.name for field in dataclasses.fields(cast(Any, kind)) if _key(field.name) in given
    ]
    return kind(**dict(zip(names, values, strict=True)))


@cache
def _hints(kind: Any) -> tuple[dict[str, object], frozenset[str]]:
    """Return the types of a dataclass's fields, and the fields that have a default."""
    fields = dataclasses.fields(kind)
    optional = {
        _key(field.name)
        for field in fields
        if field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
    }
    hints = typing.get_type_hints(kind)
    return {_key(field.name): hints[field.name] for field in fields}, frozenset(optional)


def _key(name: str) -> str:
    return name.rstrip("_")


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in arguments:
            return None
        return _value(_alternative(arguments, value), value, where)
    if origin is not None:
        return _several(origin, arguments, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, where)
    return value if hint is Any else _scalar(hint, value, where)


def _alternative(kinds: tuple[type, ...], value: Any) -> Any:
    """Return the type that knows every key of a value, the first if none does."""
    keys = set(value) if isinstance(value, Mapping) else set()
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and keys <= _hints(cast(Any, kind))[0].keys():
            return kind
    return kinds[0]


def _several(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read a list (``tuple[X, ...]``) or an object of any keys (``Mapping[str, X]``)."""
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        items = enumerate(value)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in items)
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    return {k: _value(arguments[1], item, f"{where}.{k}") for k, item in value.items()}


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path:
        return Path(_scalar(str, value, where))
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            raise _wrong(where, "true or false" if hint is bool else "text", value)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, "a number", value)
    if not math.isfinite(value):
        raise _wrong(where, "a finite number", value)
    if hint is int and value != int(value):
        raise _wrong(where, "a whole number", value)
    if abs(value) > LARGEST or (value < 0 and hint is not Signed):
        least = "" if hint is Signed else "from 0 on, "
        raise _wrong(where, f"a number {least}of 64 bits at most", value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> RecordsError:
    return RecordsError(f"{where}: want {wanted}, found {str(value)[:40]!r}")
