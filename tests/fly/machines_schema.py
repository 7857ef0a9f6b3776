"""Holds requests and answers of the Machines API against `machines_api.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_FILE = Path(__file__).with_name("machines_api.toml")
_ERRORS = (400, 401, 403, 404, 405, 408, 409, 412, 422, 429, 500, 502, 503)
_QUERY_TEXTS = {"whole": r"-?\d+", "bool": "true|false", "number": r"-?\d+(\.\d+)?"}


@dataclass(frozen=True)
class Call:
    """One call: what its query and body may hold, and the type of each good answer by status."""

    name: str
    query: Mapping[str, str]
    body: str
    answers: Mapping[int, str]

    @property
    def pattern(self) -> str:
        """Return what the method and path of such a request look like."""
        return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.name))


class MachinesSchema:
    """The calls and types of the file."""

    def __init__(self, file: Path = _FILE) -> None:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        self.types: dict[str, Any] = data["types"]
        self.calls = [
            Call(
                name,
                call.get("query", {}),
                call.get("body", ""),
                {int(key): value for key, value in call.items() if key.isdigit()},
            )
            for name, call in data["calls"].items()
        ]

    def call(self, method: str, path: str) -> Call | None:
        """Return the call that a request is, None where there is none."""
        asked = f"{method} {path}"
        return next((call for call in self.calls if re.fullmatch(call.pattern, asked)), None)

    def request_faults(self, method: str, target: str, body: Any) -> list[str]:
        """
        Return what is wrong with a request.

        Args:
            method: Its method.
            target: Path and query.
            body: Decoded JSON, None where there is no body.
        """
        parts = urlsplit(target)
        call = self.call(method, parts.path)
        if call is None:
            return [f"{method} {parts.path}: there is no such call"]
        faults = list(self._query_faults(call, parse_qsl(parts.query, keep_blank_values=True)))
        if body is None and call.body and not call.body.endswith("?"):
            faults.append("body: is missing")
        elif body is not None and not call.body:
            if body != {}:
                faults.append("body: there is none in this call")
        elif body is not None:
            faults += self._faults("body", call.body, body)
        return [f"{call.name}: {fault}" for fault in faults]

    def answer_faults(self, method: str, target: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with an answer; ``body`` is None where it has none."""
        call = self.call(method, urlsplit(target).path)
        if status in _ERRORS:
            told = f"{method} {target} answered {status}"
            return [f"{told}: {fault}" for fault in self._faults("body", "Error", body)]
        if call is None:
            return [f"{method} {target}: answered {status}, there is no such call"]
        if (wanted := call.answers.get(status)) is None:
            return [f"{call.name}: answered {status}"]
        if not wanted:
            return [] if body is None else [f"{call.name}: answered {status} with a body"]
        faults = self._faults("body", wanted, body)
        return [f"{call.name} answered {status}: {fault}" for fault in faults]

    def _query_faults(self, call: Call, pairs: list[tuple[str, str]]) -> Iterator[str]:
        kinds = {key.rstrip("!"): kind for key, kind in call.query.items()}
        given = [key for key, _ in pairs]
        for key in call.query:
            if key.endswith("!") and key.rstrip("!") not in given:
                yield f"query: {key.rstrip('!')} is missing"
        for key, value in pairs:
            prefix = f"{key.split('.', 1)[0]}.*"
            kind = kinds.get(key) or (kinds.get(prefix) if "." in key else None)
            if kind is None:
                yield f"query: {key} is unknown"
            elif kind in _QUERY_TEXTS:
                if not re.fullmatch(_QUERY_TEXTS[kind], value):
                    yield f"query: {key} {value!r} is not {kind}"
            else:
                words = value.split(",") if self._is_choice(kind) else [value]
                for word in words:
                    yield from self._faults(f"query {key}", kind, word)

    def _is_choice(self, kind: str) -> bool:
        named = self.types.get(kind)
        return isinstance(named, str) and named.startswith("=")

    def _faults(self, where: str, kind: str, value: Any) -> Iterator[str]:
        if kind.endswith("?"):
            if value is not None:
                yield from self._faults(where, kind.removesuffix("?").rstrip(), value)
        elif kind.startswith("="):
            if value not in kind.split()[1:]:
                yield f"{where}: {value!r} is not one of{kind.removeprefix('=')}"
        elif kind.startswith("["):
            if not isinstance(value, list):
                yield f"{where}: {value!r} is no list"
                return
            for number, item in enumerate(value):
                yield from self._faults(f"{where}[{number}]", kind[1:-1], item)
        elif kind.startswith("{"):
            if not isinstance(value, dict):
                yield f"{where}: {value!r} is no object"
                return
            for key, item in value.items():
                yield from self._faults(f"{where}.{key}", kind[1:-1], item)
        elif kind in self.types:
            named = self.types[kind]
            if isinstance(named, str):
                yield from self._faults(where, named, value)
            else:
                yield from self._object_faults(where, named, value)
        elif not _is_plain(kind, value):
            yield f"{where}: {value!r} is not {kind}"

    def _object_faults(self, where: str, fields: Mapping[str, str], value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        kinds = {key.rstrip("!"): kind for key, kind in fields.items()}
        for key in fields:
            if key.endswith("!") and key.rstrip("!") not in value:
                yield f"{where}: {key.rstrip('!')} is missing"
        for key, item in value.items():
            if key not in kinds:
                yield f"{where}: {key} is unknown"
            else:
                yield from self._faults(f"{where}.{key}", kinds[key], item)


def _is_plain(kind: str, value: Any) -> bool:
    """Tell whether a value is of a type that has no parts."""
    match kind:
        case "any":
            return True
        case "text":
            return isinstance(value, str)
        case "some":
            return isinstance(value, str) and value != ""
        case "bool":
            return isinstance(value, bool)
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "time":
            return _is_time(value)
    raise ValueError(f"machines_api.toml: no such type: {kind!r}")


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
