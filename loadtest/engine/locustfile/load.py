"""Loads a locustfile: our clients in place of Locust's, its classes, tags, options and events."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import locust
import locust.clients
from locust import argument_parser
from locust.contrib import fasthttp
from locust.env import Environment
from locust.user import users

from loadtest.assets import find_asset
from loadtest.engine.locustfile.importing import import_file, place_of
from loadtest.engine.locustfile.runner import ScenarioRunner
from loadtest.engine.locustfile.session import Session
from loadtest.engine.user import TTFBUser
from loadtest.errors import EngineError
from loadtest.plan.model import LocustSettings

_MEASURED = (users.HttpUser, fasthttp.FastHttpUser, TTFBUser)


@dataclass(frozen=True, slots=True)
class Locustfile:
    """
    A locustfile, ready to be played.

    Args:
        path: Where it is.
        classes: User classes that are played, tasks filtered by tag.
        shapes: Its load shape classes.
        environment: Locust's environment of its run; its runner is ours.
        runner: The same runner.
        idle: Names of classes that the tags leave nothing to do.
    """

    path: Path
    classes: tuple[type[locust.User], ...]
    shapes: tuple[type[locust.LoadTestShape], ...]
    environment: Environment
    runner: ScenarioRunner
    idle: tuple[str, ...]

    def fire(self, event: str, **facts: object) -> None:
        """
        Call the script's listeners of an event.

        Raises:
            EngineError: One of them raised; Locust would have logged it and gone on.
        """
        for handler in list(getattr(self.environment.events, event)._handlers):
            try:
                handler(**facts)
            except (Exception, SystemExit) as error:
                place = place_of(self.path, error)
                raise EngineError(
                    f"{place}: {type(error).__name__}: {error} (listener of {event})"
                ) from error


_loaded: dict[str, Locustfile] = {}


def load_locustfile(relative: str, settings: LocustSettings, host: str) -> Locustfile:
    """
    Import a locustfile, once in a process, and pick its classes.

    Args:
        relative: Path as the plan has it.
        settings: What the command line says of it.
        host: Base URL of the target; empty leaves that to the classes.

    Raises:
        EngineError: It cannot be imported or played; says where and why.
    """
    key = f"{relative} {host} {settings.model_dump_json()}"
    if key not in _loaded:
        _loaded[key] = _load(relative, settings, host)
    return _loaded[key]


def _load(relative: str, settings: LocustSettings, host: str) -> Locustfile:
    path = find_asset(relative)
    if path is not None and path.is_dir():
        raise EngineError(f"locustfile {relative!r}: is a folder; name one file of it")
    if path is None or not path.is_file():
        raise EngineError(f"locustfile {relative!r}: there is no such file")
    if path.suffix != ".py":
        raise EngineError(f"locustfile {relative!r}: no Python file; its name ends in .py")
    for module in (users, locust.clients):
        vars(module)["HttpSession"] = Session
    vars(fasthttp)["FastHttpSession"] = Session
    _refuse_own_runs()
    sys.path.insert(0, os.getcwd())
    module = import_file(path, "locustfile" if path.stem == "locust" else path.stem)
    values = [value for value in vars(module).values() if inspect.isclass(value)]
    classes = _chosen(path, values, settings.classes)
    shapes = [v for v in values if issubclass(v, locust.LoadTestShape) and not v.abstract]
    environment = Environment(
        events=locust.events,
        user_classes=classes,
        host=host or None,
        tags=list(settings.tags) or None,
        exclude_tags=list(settings.exclude_tags) or None,
        locustfile=path.name,
        parsed_options=_options(path, settings, host),
    )
    later = [cls for cls in classes if not cls.tasks and _fills_in_later(cls)]
    environment._filter_tasks_by_tags()
    environment.user_classes = _with_tasks(path, classes, later, settings)
    runner = ScenarioRunner(environment)
    environment.runner = runner
    idle = tuple(cls.__name__ for cls in classes if cls not in environment.user_classes)
    played = tuple(environment.user_classes)
    return Locustfile(path, played, tuple(shapes), environment, runner, idle)


def _refuse_own_runs() -> None:
    """Have a script that starts users by itself while it is imported refused, with its line."""

    def refuse(*_: Any, **__: Any) -> None:
        raise EngineError(
            "it starts a load of its own while it is imported; put that below "
            "`if __name__ == '__main__':`, and the users are started by us"
        )

    for name in ("create_local_runner", "create_master_runner", "create_worker_runner"):
        setattr(Environment, name, refuse)
    vars(locust)["run_single_user"] = refuse


def _chosen(path: Path, values: list[Any], names: tuple[str, ...]) -> list[type[locust.User]]:
    """Return the classes to play; every one must be of a kind that our client can measure."""
    found = {v.__name__: v for v in values if issubclass(v, locust.User) and v.abstract is False}
    found = {name: v for name, v in found.items() if v.weight > 0 or v.fixed_count > 0}
    listed = ", ".join(found) or "none"
    if missing := [name for name in names if name not in found]:
        raise EngineError(f"{path}: there is no user class {missing[0]!r}; there are {listed}")
    chosen = [found[name] for name in names] if names else list(found.values())
    if not chosen:
        raise EngineError(
            f"{path}: holds no user class that can be played; derive one from HttpUser or "
            "FastHttpUser, not abstract and of a weight above 0"
        )
    for cls in chosen:
        if not issubclass(cls, _MEASURED):
            others = [n for n, v in found.items() if issubclass(v, _MEASURED)]
            hint = f"; play the others alone by naming them: {' '.join(others)}" if others else ""
            raise EngineError(
                f"{_line_of(cls, path)}: class {cls.__name__} is no HttpUser or FastHttpUser: what "
                f"its own client sends has no time to first byte here{hint}"
            )
    return chosen


def _with_tasks(
    path: Path,
    classes: list[type[locust.User]],
    later: list[type[locust.User]],
    settings: LocustSettings,
) -> list[type[locust.User]]:
    """Return the classes that have something to do; those that the tags leave nothing are out."""
    tags = ", ".join((*settings.tags, *settings.exclude_tags))
    busy = [cls for cls in classes if cls.tasks or cls in later]
    if not busy and tags:
        raise EngineError(f"{path}: the tags ({tags}) leave no task in any class")
    if idle := [cls for cls in classes if cls not in busy and not tags]:
        raise EngineError(
            f"{_line_of(idle[0], path)}: class {idle[0].__name__} has no task; mark a method with "
            "@task, mark the class abstract, or name the classes to play"
        )
    return busy


def _fills_in_later(cls: type[locust.User]) -> bool:
    """Tell whether a class may get its tasks when a user starts, as some scripts do."""
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] != "locust"]
    return any(name in vars(base) for base in own[:-1] for name in ("on_start", "__init__"))


def _line_of(cls: type, path: Path) -> str:
    try:
        return f"{inspect.getsourcefile(cls)}, line {inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return str(path)


def _options(path: Path, settings: LocustSettings, host: str) -> Any:
    """Return what Locust's parser, with the options that the script adds, makes of the words."""
    try:
        parser = argument_parser.get_parser(default_config_files=[])
    except Exception as error:
        raise EngineError(f"{place_of(path, error)}: {type(error).__name__}: {error}") from error

    def refuse(message: str) -> None:
        raise EngineError(f"options of {path}: {message}")

    setattr(parser, "error", refuse)  # noqa: B010 - a method, which a type checker would refuse
    words = ["-f", str(path), "--headless", *(["--host", host] if host else [])]
    try:
        return parser.parse_args([*words, *settings.options])
    except SystemExit as error:  # --help, --version
        raise EngineError(
            f"options of {path}: {' '.join(settings.options)!r} ends Locust"
        ) from error
