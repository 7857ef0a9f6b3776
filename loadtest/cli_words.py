"""How words of the command line are read: lists, regions, times, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from loadtest.errors import PlanError
from loadtest.regions import region_table

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)(?:ec(?:onds?)?|in(?:utes?)?|ours?)?\s*")


class FilePath(click.Path):
    """A path; an empty one, as of a variable that is not set, names nothing."""

    def __init__(self, *, folder: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=folder)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; refuse an empty one."""
        return super().convert(_filled(value, param), param, ctx)


class FileName(click.types.StringParamType):
    """The name of a file as it was typed; an empty one names nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name; refuse an empty one."""
        return super().convert(_filled(value, param), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete the names of files."""
        return complete_file(ctx, param, incomplete)


def complete_file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the names of files."""
    return [CompletionItem(incomplete, type="file")]


def complete_codes(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the last code of a list of regions, each with its city."""
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{region.code}", help=region.city)
        for region in region_table().values()
        if region.code.startswith(last.lower())
    ]


def _filled(value: Any, param: click.Parameter | None) -> Any:
    if value == "":
        where = param.opts[0] if isinstance(param, click.Option) else "FOLDER"
        raise PlanError(f"{where}: '' names no file or folder; leave it out, or name one")
    return value


def list_of(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Split ``a,b c`` into names; None stays None."""
    if value is None:
        return None
    names = [name for name in value.replace(",", " ").split() if name]
    if not names:
        raise PlanError(f"--{parameter.name}: {value!r} names none; leave the flag out for all")
    return names


def codes(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Split region codes, in any case."""
    return list_of(context, parameter, value.lower() if value is not None else None)


def place(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Read the code of one region, in any case; without the flag it is empty."""
    if value is None:
        return ""
    if len(value.replace(",", " ").split()) != 1:
        raise PlanError(f"--{parameter.name}: {value!r} is not one region; write one, such as cdg")
    return value.strip().lower()


def seconds(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Read ``30``, ``30s``, ``1.5m``, ``1h`` or ``1m30s`` as seconds."""
    if value is None:
        return None
    text, parts = value.strip().lower(), list[re.Match[str]]()
    while match := _DURATION.match(text):
        parts.append(match)
        text = text[match.end() :]
    units = [part[2] for part in parts]
    in_order = units == sorted(set(units), key="hms".find) and ("" not in units or len(units) == 1)
    if text or not parts or not in_order:
        raise PlanError(f"{parameter.opts[0]}: {value!r} is no time; write 30, 30s, 2m or 1h")
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)


def resolved(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Read ``HOST=ADDRESS``."""
    from loadtest.plan.client import read_resolve

    return read_resolve(value)
