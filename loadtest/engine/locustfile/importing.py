"""Imports a file of the user's and says in a sentence what is wrong with it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from loadtest.errors import EngineError, LoadtestError

ENVIRONMENT = "LOADTEST_SCRIPT_ENVIRONMENT"
"""Variable with the environment that the file was written for, as JSON."""


def import_file(path: Path, name: str) -> ModuleType:
    """
    Import a Python file under a module name, in the environment that it was written for.

    Its folder leads the search path from then on.

    Raises:
        EngineError: It cannot be imported: file, line, reason.
    """
    for key, value in json.loads(os.environ.pop(ENVIRONMENT, "{}")).items():
        os.environ.setdefault(key, value)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise EngineError(f"{path}: no Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise EngineError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise EngineError(f"{path}: {error}; a Python file is UTF-8") from error
    except ModuleNotFoundError as error:
        raise EngineError(
            f"{place_of(path, error)}: {type(error).__name__}: {error}; install it where loadtest "
            f"is: {sys.executable} -m pip install ..."
        ) from error
    except LoadtestError as error:
        raise EngineError(f"{place_of(path, error)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise EngineError(f"{place_of(path, error)}: {type(error).__name__}: {error}") from error
    return module


def modules_beside(path: Path) -> list[Path]:
    """Return the files in or below a script's folder that its import has brought in."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = {Path(file).resolve() for file in files if file}
    ours = Path(__file__).resolve().parents[2]
    return sorted(
        file
        for file in found
        if path.parent in file.parents and file != path and ours not in file.parents
        if not {"site-packages", "dist-packages"} & set(file.parts)
    )


def place_of(path: Path, error: BaseException) -> str:
    """Return the last line of a file, or of one beside it, that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path.parent in Path(frame.filename).parents]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else str(path)
