"""Loads a scenario file and says in a sentence what is wrong with it."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from locust import User

from loadtest.assets import find_asset
from loadtest.engine.client.refusals import refused_calls
from loadtest.engine.locustfile.importing import import_file, modules_beside
from loadtest.engine.user import TTFBUser
from loadtest.errors import EngineError

_MODULE = "loadtest_scenario"


def load_scenario(relative: str, *, insecure: bool = False) -> list[type[TTFBUser]]:
    """
    Import a scenario file and return its user classes, in the order of the file.

    Those that it defines, or, where it has ``__all__``, those named there, wherever they are from.

    Args:
        relative: Path as the plan has it, such as ``scenarios/recipes.py``.
        insecure: Whether the plan lets certificates be unverified.

    Raises:
        EngineError: No such file, it cannot be imported (file, line, reason), or it holds no
            class that can be played, or it asks the client for what that cannot do.
    """
    path = find_asset(relative)
    if path is None:
        raise EngineError(
            f"scenario {relative!r}: no such file on the worker; bake it into the image or put it "
            "into the working directory"
        )
    classes = _classes_of(path)
    refused = [
        why
        for file in (path, *modules_beside(path.resolve()))
        for why in refused_calls(file, insecure=insecure)
    ]
    if refused:
        raise EngineError("\n".join(refused))
    if not classes:
        raise EngineError(_nothing_to_play(path))
    names = [cls.scenario_name() for cls in classes]
    for name in names:
        if names.count(name) > 1:
            raise EngineError(f"{path}: two classes share the scenario name {name!r}; rename one")
    return classes


def _classes_of(path: Path) -> list[type[TTFBUser]]:
    module = import_file(path, _MODULE)
    named = getattr(module, "__all__", None)
    found = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, TTFBUser)
        and (value.__module__ == _MODULE if named is None else name in named)
        and not value.abstract
    ]
    for user_class in found:
        _check(path, user_class)
    return [user_class for user_class in found if user_class.weight > 0]


def _nothing_to_play(path: Path) -> str:
    """Return what a file lacks, with both cures where its classes are Locust's own."""
    module = sys.modules[_MODULE]
    theirs = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, User) and value.__module__ == _MODULE
    ]
    if not theirs:
        return f"{path}: holds no class derived from TTFBUser; see scenarios/recipes.py"
    return (
        f"{path}: {', '.join(theirs)}: derived from Locust's own classes, which send when their "
        f"users are ready: play it with `loadtest run -f {path.name} --host URL`; or derive from "
        "loadtest.engine.user.TTFBUser, and the plan's schedule says when tasks run"
    )


def _check(path: Path, user_class: type[TTFBUser]) -> None:
    tasks = user_class.playable_tasks()
    if not tasks:
        raise EngineError(
            f"{path}: class {user_class.__name__} has no task; mark a method with @task"
        )
    for task in tasks:
        if inspect.isclass(task):
            raise EngineError(
                f"{path}: class {user_class.__name__}: task {task.__name__} is a TaskSet; one task "
                "is one arrival here, so make it a method"
            )
