"""Loads a scenario file and says in a sentence what is wrong with it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path

from loadtest.assets import find_asset
from loadtest.engine.user import TTFBUser
from loadtest.errors import EngineError

_MODULE = "loadtest_scenario"


def load_scenario(relative: str) -> list[type[TTFBUser]]:
    """
    Import a scenario file and return its user classes, in the order of the file.

    Those that it defines, or, where it has ``__all__``, those named there, wherever they are from.

    Args:
        relative: Path as the plan has it, such as ``scenarios/recipes.py``.

    Raises:
        EngineError: No such file, it cannot be imported (file, line, reason), or it holds no
            class that can be played.
    """
    path = find_asset(relative)
    if path is None:
        raise EngineError(
            f"scenario {relative!r}: no such file on the worker; bake it into the image or put it "
            "into the working directory"
        )
    classes = _classes_of(path)
    if not classes:
        raise EngineError(f"{path}: holds no class derived from TTFBUser; see scenarios/recipes.py")
    names = [cls.scenario_name() for cls in classes]
    for name in names:
        if names.count(name) > 1:
            raise EngineError(f"{path}: two classes share the scenario name {name!r}; rename one")
    return classes


def _classes_of(path: Path) -> list[type[TTFBUser]]:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise EngineError(f"{path}: no Python file; a scenario's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise EngineError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise EngineError(f"{_place(path, error)}: {type(error).__name__}: {error}") from error
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


def _place(path: Path, error: BaseException) -> str:
    """Return the last line of the scenario itself that led to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)
