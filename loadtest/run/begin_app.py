"""Recognises the app of a folder that has no fly.toml, and writes one: what starts it, its port."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.run.start_command import dockerfile_command

PORT: Final = 8080
_ASGI: Final = frozenset(("FastAPI", "Starlette", "Litestar", "Quart"))
_WSGI: Final = frozenset(("Flask",))
_FIRST: Final = ("main.py", "app.py", "asgi.py", "wsgi.py", "server.py", "api.py")
_FOLDERS: Final = ("", "app", "src", "api")
_EXPOSE: Final = re.compile(r"(?im)^\s*EXPOSE\s+(\d{1,5})(?:/tcp)?\b")

_FLY_TOML: Final = """\
# What `loadtest init` found: {what}.  Every key: docs/fly-toml.md of loadtest.
app = "{name}"
primary_region = "cdg"

[env]
PORT = "{port}"
{processes}
[http_service]
internal_port = {port}
"""


@dataclass(frozen=True, slots=True)
class FoundApp:
    """
    An app as somebody would start it.

    Args:
        what: What it was recognised by, for people.
        command: What starts it; empty where fly.toml need not say so.
        port: Where it listens.
    """

    what: str
    command: str = ""
    port: int = PORT

    def fly_toml(self, name: str) -> str:
        """Return a fly.toml for it."""
        processes = f"\n[processes]\napp = {_quoted(self.command)}\n" if self.command else ""
        return _FLY_TOML.format(what=self.what, name=name, port=self.port, processes=processes)


def find_app(folder: Path) -> FoundApp | None:
    """Return the app of a folder by its Dockerfile, Procfile or Python framework; None without."""
    dockerfile = folder / "Dockerfile"
    if dockerfile.is_file():
        text = dockerfile.read_text(encoding="utf-8", errors="replace")
        if dockerfile_command(text):
            exposed = _EXPOSE.findall(text)
            return FoundApp("a Dockerfile", port=int(exposed[-1]) if exposed else PORT)
    if (folder / "Procfile").is_file():
        return FoundApp("a Procfile")
    if (folder / "manage.py").is_file():
        command = f"python manage.py runserver --noreload 0.0.0.0:{PORT}"
        return FoundApp("Django's manage.py", command)
    return next(_frameworks(folder), None)


def _frameworks(folder: Path) -> Iterator[FoundApp]:
    for below in _FOLDERS:
        files = sorted((folder / below).glob("*.py"), key=_rank)
        for file in files:
            try:
                tree = ast.parse(file.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError, SyntaxError):
                continue
            for kind, name in _made(tree):
                module = ".".join(file.relative_to(folder).with_suffix("").parts)
                shown = f"{kind} in {file.relative_to(folder)}"
                if kind in _ASGI:
                    command = f"python -m uvicorn {module}:{name} --host 0.0.0.0 --port {PORT}"
                else:
                    command = f"python -m flask --app {module}:{name} run --host 0.0.0.0 -p {PORT}"
                yield FoundApp(shown, command)


def _rank(file: Path) -> tuple[int, str]:
    return (_FIRST.index(file.name) if file.name in _FIRST else len(_FIRST), file.name)


def _made(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield framework and variable of each application that a module makes at its top level."""
    for node in tree.body:
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(value, ast.Call):
            continue
        kind = ast.unparse(value.func).rpartition(".")[2]
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if kind in _ASGI | _WSGI and isinstance(target, ast.Name):
            yield kind, target.id


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
