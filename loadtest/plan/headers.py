"""
Headers that a plan sends with every request, and values that are kept out of everything stored.

A value may hold references ``${NAME}`` to variables of our own environment: the plan keeps the
reference, only the order to the coordinator has the value.  ``$${`` stands for ``${`` itself.
Values of ``--header`` are not kept at all: the plan has ``GIVEN`` in their place.

Source: RFC 9110, sections 5.1 and 5.5 (names and values of fields), 7.6.1 (Connection).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from loadtest.errors import PlanError
from loadtest.plan.apps import Deployment
from loadtest.plan.credentials import basic_header
from loadtest.plan.model import Plan

GIVEN: Final = "${--header}"
"""What stands in a plan for a value that the command line gave."""

OF_URL: Final = "${url}"
"""What stands there for the user and the password that were in the URL."""

Headers = dict[str, dict[str, str]]
"""Deployment -> name -> value."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REFERENCE: Final = re.compile(r"\$?\$\{([^}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FROM_BODY: Final = ("content-length", "transfer-encoding")
_OF_CONNECTION: Final = (
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
)
_MOST_BYTES: Final = 16_384


def header_faults(plan: Plan) -> Iterator[str]:
    """Yield what is wrong with the headers of a plan, without a value; looks up no variable."""
    tables = [("headers", plan.headers)]
    tables += [(f"deployments.{d.name}.headers", d.headers) for d in plan.deployments]
    for key, headers in tables:
        seen: set[str] = set()
        for name, value in headers.items():
            yield from _name_faults(f"{key}.{name}", name)
            if name.lower() in seen:
                yield f"{key}.{name}: stands there twice; case makes no difference"
            seen.add(name.lower())
            if value not in (GIVEN, OF_URL):
                yield from _value_faults(f"{key}.{name}", value)
                yield from _reference_faults(f"{key}.{name}", value)


def read_headers(texts: Sequence[str]) -> dict[str, str]:
    """
    Return the headers that ``--header "Name: value"`` gave; a later one of a name wins.

    Raises:
        PlanError: One is no header; the sentence has its name at most.
    """
    found: dict[str, str] = {}
    faults: list[str] = []
    for text in texts:
        name, colon, value = text.partition(":")
        value = value.strip(" \t")
        if not colon:
            faults.append("--header: want 'Name: value', and there is no colon in what was given")
            continue
        name = name.strip(" ")
        wrong = [*_name_faults("--header", name), *_value_faults(f"--header {name}", value)]
        wrong += _reference_faults(f"--header {name}", value)
        faults += wrong
        if not wrong:
            found = {known: v for known, v in found.items() if known.lower() != name.lower()}
            found[name] = value
    if faults:
        raise PlanError(*faults)
    return found


def give_headers(
    plan: Plan, given: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[Plan, Headers]:
    """
    Return the plan that says which headers were given, and what each deployment's requests carry.

    Args:
        plan: Resolved plan.
        given: What ``--header`` gave; wins over the plan, whose deployments win over its top level.
        environ: Our own environment, where references are looked up.

    Returns:
        The plan, with ``GIVEN`` for each value of ``given`` and ``OF_URL`` for what was in a URL;
        deployment -> name -> value.

    Raises:
        PlanError: A variable is not set, or holds what no header can.
    """
    faults: list[str] = []
    found: Headers = {}
    for deployment in plan.deployments:
        headers: dict[str, tuple[str, str]] = {}
        own, wrong = _of_url(deployment, environ)
        faults += wrong
        for table in (plan.headers, own, deployment.headers, given):
            headers |= {name.lower(): (name, value) for name, value in table.items()}
        found[deployment.name] = {}
        for name, value in headers.values():
            if value == GIVEN:
                faults.append(f"headers.{name}: {GIVEN} stands for what --header gave; give it")
                continue
            if value == OF_URL:
                faults.append(f"headers.{name}: {OF_URL} stands for what was in the URL; give it")
                continue
            text, wrong = _looked_up(f"headers.{name}", value, environ)
            faults += wrong
            found[deployment.name][name] = text
    if faults:
        raise PlanError(*dict.fromkeys(faults))
    arms = tuple(
        d.model_copy(update={"headers": {"Authorization": OF_URL, **d.headers}})
        if d.credentials
        else d
        for d in plan.deployments
    )
    plan = plan.model_copy(update={"deployments": arms})
    if not given:
        return plan, found
    kept = {n: v for n, v in plan.headers.items() if n.lower() not in map(str.lower, given)}
    return plan.model_copy(update={"headers": {**kept, **dict.fromkeys(given, GIVEN)}}), found


def _of_url(deployment: Deployment, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the header of the user and the password in a URL, and what is wrong with them."""
    if not deployment.credentials:
        return {}, []
    faults: list[str] = []
    parts = []
    for part in deployment.credentials.partition(":")[::2]:
        text, wrong = _looked_up(f"deployments.{deployment.name}.url", part, environ)
        faults += wrong
        parts.append(text if "${" in part else unquote(part))
    return {"Authorization": basic_header(*parts)}, faults


def _looked_up(key: str, value: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a value with its references replaced, and what is wrong with that."""
    faults: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        if match[1] not in environ:
            faults.append(f"{key}: ${{{match[1]}}} is not set in the environment of loadtest")
        return environ.get(match[1], "")

    text = _REFERENCE.sub(replace, value).strip(" \t")
    return text, [*faults, *_value_faults(key, text)]


def _name_faults(key: str, name: str) -> Iterator[str]:
    if not _TOKEN.fullmatch(name):
        shown = name[:40] if name.isprintable() else "it"
        yield f"{key}: {shown!r} is no header name: letters, digits and !#$%&'*+.^_`|~- make one"
    elif name.lower() in _FROM_BODY:
        yield f"{key}: {name} says how long a body is, which the client knows; leave it out"
    elif name.lower() in _OF_CONNECTION:
        yield (
            f"{key}: {name} is about one connection, which is the client's; leave it out "
            "(load.new_connections opens new ones)"
        )


def _value_faults(key: str, value: str) -> Iterator[str]:
    """Yield what is wrong with a value, which may be secret, in a sentence without it."""
    if _CONTROL.search(value):
        yield f"{key}: the value holds a line break or another control character; take it out"
    elif any(ord(character) > 255 for character in value):
        yield f"{key}: the value holds a letter beyond Latin-1; percent-encode it"
    elif len(value) > _MOST_BYTES:
        yield f"{key}: the value has {len(value)} bytes; {_MOST_BYTES} are allowed"


def _reference_faults(key: str, value: str) -> Iterator[str]:
    for match in _REFERENCE.finditer(value):
        if not match[0].startswith("$$") and not _VARIABLE.fullmatch(match[1]):
            yield (
                f"{key}: the reference ${{{match[1][:40]}}} names no variable; write ${{TOKEN}}, "
                "or $${ for the signs themselves"
            )
