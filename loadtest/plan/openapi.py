"""
OpenAPI documents, in JSON or YAML: the paths that can be asked with what they give as examples.

Sources: OpenAPI 3.1 and Swagger 2.0, format, paths, parameters and their style, servers; YAML
1.2.2, 10.2, the JSON schema, which is the one that OpenAPI recommends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import yaml

from loadtest.errors import PlanError
from loadtest.text import one_line

_A_DOCUMENT: Final = re.compile(r"""(?m)^["']?(openapi|swagger)["']?[ ]*:""")
_MOST_YAML: Final = 8 << 20  # a second or two of reading


class _JsonSchema(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C or not
    """
    Reads YAML as OpenAPI means it, not as YAML 1.1: `no` is a word, a date and a number are text.

    There are no merge keys, whose cost can grow exponentially.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # its API


_JsonSchema.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf")
)
_JsonSchema.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile("^(null|~|)$"), ["n", "~", ""]
)


def read_document(shown: str, text: str) -> object:
    """
    Return what a text in JSON says, or an OpenAPI document in YAML; None where it is neither.

    Args:
        shown: What the text is from, for messages.
        text: The text.

    Raises:
        PlanError: It is an OpenAPI document in YAML that cannot be read.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if not _A_DOCUMENT.search(text):
            return None
    if len(text) > _MOST_YAML:
        raise PlanError(
            f"{shown}: is YAML of more than {_MOST_YAML >> 20} MB; give the document as JSON"
        )
    try:
        return yaml.load(text, _JsonSchema)  # noqa: S506  # is a SafeLoader
    except RecursionError:
        why = "is nested too deeply"
    except (yaml.YAMLError, ValueError) as error:
        why = one_line(str(error))[:300]
    raise PlanError(f"{shown}: is no YAML: {why}")


def server_of(document: Mapping[str, Any]) -> str:
    """Return the URL that a document's paths are below; relative or empty where it says no more."""
    if isinstance(document.get("host"), str):  # Swagger 2.0
        scheme = next(iter(document.get("schemes") or ()), "https")
        return f"{scheme}://{document['host']}{document.get('basePath') or ''}".rstrip("/")
    servers = document.get("servers") or ()
    return str(servers[0].get("url", "")).rstrip("/") if servers else ""


def described_paths(document: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """
    Return the paths with a GET, filled in with their examples, and notes of what is left out.

    Raises:
        TypeError, AttributeError, KeyError, IndexError: The document is bent.
    """
    paths, notes = [], []
    for path, item in document["paths"].items():
        if not isinstance(item, Mapping) or not isinstance(item.get("get"), Mapping):
            continue
        asked = [*(item.get("parameters") or ()), *(item["get"].get("parameters") or ())]
        filled, missing = _filled(str(path), [_resolved(document, one) for one in asked])
        if missing:
            shown, name = one_line(str(path))[:80], one_line(missing)[:80]
            notes.append(f"GET {shown} is left out: {name} has no example")
        else:
            paths.append(filled)
    return paths, notes


def _resolved(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference into the document."""
    reference = parameter.get("$ref")
    if not isinstance(reference, str):
        return parameter
    found: Any = document
    for word in reference.removeprefix("#/").split("/"):
        found = found[word]
    return found if isinstance(found, Mapping) else {}


def _filled(path: str, parameters: list[Mapping[str, Any]]) -> tuple[str, str]:
    """Return a path with its parameters filled in, and the one that has no example."""
    query: dict[str, list[str]] = {}
    for parameter in parameters:
        name, where = str(parameter.get("name")), parameter.get("in")
        value = _example(parameter)
        if where == "path":
            if value is None:
                return path, name
            path = path.replace(f"{{{name}}}", quote(",".join(_words(value)), safe=","))
        elif where == "query" and (parameter.get("required") or "example" in parameter):
            if value is None:
                return path, name
            query[name] = _words(value)
    if left := re.search(r"\{([^}]*)\}", path):
        return path, left[1]
    return f"{path}?{urlencode(query, doseq=True)}" if query else path, ""


def _words(value: object) -> list[str]:
    """Return an example as URLs have it: several words for a list, JSON's words for the rest."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [word for one in value for word in _words(one)]
    return [json.dumps(value) if isinstance(value, bool | Mapping) else str(value)]


def _example(parameter: Mapping[str, Any]) -> object:
    schema = parameter.get("schema") or parameter
    for source in (parameter, schema):
        for key in ("example", "default"):
            if source.get(key) is not None:
                return source[key]
        if source.get("enum"):
            return source["enum"][0]
    examples = parameter.get("examples") or {}
    return next((one.get("value") for one in examples.values()), None)
