"""What ``locust.conf``, ``pyproject.toml`` and ``LOCUST_...`` variables say, read by Locust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from locust import argument_parser

from loadtest.errors import EngineError
from loadtest.plan.locustfile import LocustCommand, run_time_s

_AS_ALWAYS: Final = frozenset(("locustfile", "headless", "config", "autostart", "autoquit"))
"""Settings that say what happens here anyway."""

_TAKEN: Final = frozenset(
    ("host", "num_users", "spawn_rate", "run_time", "tags", "exclude_tags", "user_classes")
)


def with_configuration(command: LocustCommand) -> tuple[LocustCommand, list[str]]:
    """
    Return the command line with what it leaves open taken from where Locust would take it.

    Args:
        command: What was typed; it wins, then come variables, then files.

    Returns:
        The command, and a sentence for every setting that has no meaning here.

    Raises:
        EngineError: A setting cannot be read.
    """
    parser = argument_parser.get_empty_argument_parser()
    argument_parser.setup_parser_arguments(parser)  # type: ignore[no-untyped-call] # as it is

    def refuse(message: str) -> None:
        raise EngineError(f"locust.conf, pyproject.toml or LOCUST_... variables: {message}")

    setattr(parser, "error", refuse)  # noqa: B010 - a method, which a type checker would refuse
    try:
        values, unknown = parser.parse_known_args(["-f", command.path])
    except SystemExit as error:
        raise EngineError("locust.conf: a setting of it ends Locust") from error
    said = dict(_said(parser))
    found = {name: getattr(values, name) for name in _TAKEN if name in said}
    notes = [
        f"{place}: no effect here"
        for name, place in said.items()
        if name not in _TAKEN | _AS_ALWAYS
    ]
    return _filled(command, found, tuple(unknown)), notes


def _said(parser: Any) -> Iterator[tuple[str, str]]:
    """Yield each setting that a variable or a file gives, with where it stands."""
    for source, settings in parser.get_source_to_settings_dict().items():
        kind, _, place = source.partition("|")
        if kind not in ("environment_variables", "config_file"):
            continue
        for name, (action, _value) in settings.items():
            if action is not None:  # others are options of the file's own
                yield action.dest, f"{place}: {name}" if place else name


def _filled(
    command: LocustCommand, found: dict[str, Any], unknown: tuple[str, ...]
) -> LocustCommand:
    run_time = found.get("run_time")
    return replace(
        command,
        hosts=command.hosts or tuple(filter(None, [found.get("host")])),
        users=command.users if command.users is not None else found.get("num_users"),
        spawn_rate=command.spawn_rate or found.get("spawn_rate"),
        run_time_s=command.run_time_s or (run_time_s(str(run_time)) if run_time else None),
        tags=command.tags or tuple(found.get("tags") or ()),
        exclude_tags=command.exclude_tags or tuple(found.get("exclude_tags") or ()),
        options=(*unknown, *command.options),
    )
