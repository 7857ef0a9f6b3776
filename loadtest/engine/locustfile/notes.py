"""Finds in a locustfile's text what has no meaning here, and says so once, by line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_VERIFIED: Final = "what is trusted is said by --ca-file and --insecure, and by nothing else"
_MESSAGES: Final = "a message goes to the listeners of its own worker, as in a run without workers"
_RUNNER: Final = "what a script conducts by itself measures nothing; its users are started by us"
_ATTRIBUTES: Final = {
    "web_ui": "there is no web UI; what is added to it is never shown",
    "process_exit_code": "the exit code is that of the verdict; give --threshold instead",
    "register_message": _MESSAGES,
    "send_message": _MESSAGES,
    "create_local_runner": _RUNNER,
    "create_master_runner": _RUNNER,
    "create_worker_runner": _RUNNER,
    "report_to_master": "the event is never fired: each region's users report to us",
    "worker_report": "the event is never fired: each region's users report to us",
    "heartbeat_sent": "the event is never fired",
    "heartbeat_received": "the event is never fired",
    "worker_connect": "the event is never fired",
    "cpu_warning": "the event is never fired; the report has a check of the generator's CPU",
    "usage_monitor": "the event is never fired",
    "reset_stats": "Locust's own statistics are not what is reported",
    "mount": "the client has no adapters of requests",
    "client_pool": "every user has connections of its own",
    "pool_manager": "every user has connections of its own",
    "network_timeout": "the plan's timeout counts (load.timeout_s)",
    "connection_timeout": "the plan's timeout counts (load.timeout_s)",
    "max_retries": "nothing is ever sent twice unasked",
    "concurrency": "every user has connections of its own",
    "ssl_context_factory": "certificates are verified by the system's trust",
    "insecure": _VERIFIED,
}
_KEYWORDS: Final = {
    "verify": _VERIFIED,
}
_CLASS_SETTINGS: Final = frozenset(
    (
        "client_pool",
        "pool_manager",
        "network_timeout",
        "connection_timeout",
        "max_retries",
        "concurrency",
        "ssl_context_factory",
        "insecure",
    )
)
_OF_A_CLIENT: Final = {
    "verify": _VERIFIED,
    "cert": "the client shows that of --cert",
    "proxies": "requests go to the target itself",
    "max_redirects": "thirty redirects are followed",
    "keep_alive": "connections are kept open",
}
_VERBS: Final = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "request"))


def notes_of(path: Path) -> list[str]:
    """Return a sentence for every thing in a file that has no effect here, each once."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return []  # the import tells it, with its line
    found: dict[str, int] = {}
    for line, sentence in _findings(tree):
        found.setdefault(sentence, line)
    return [f"{path}, line {line}: {sentence}" for sentence, line in found.items()]


def _findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in _CLASS_SETTINGS:
            if node.attr in _ATTRIBUTES:
                yield node.lineno, f"{node.attr}: {_ATTRIBUTES[node.attr]}"
        elif isinstance(node, ast.ClassDef):
            yield from _settings(node)
        elif isinstance(node, ast.Call):
            yield from _call(node)
        elif isinstance(node, ast.Assign):
            yield from _assigned(node)


def _settings(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    for item in node.body:
        targets = item.targets if isinstance(item, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _CLASS_SETTINGS:
                yield item.lineno, f"{target.id}: {_ATTRIBUTES[target.id]}"


def _assigned(node: ast.Assign) -> Iterator[tuple[int, str]]:
    for target in node.targets:
        name = ast.unparse(target)
        for attribute, sentence in _OF_A_CLIENT.items():
            if name.endswith(f"client.{attribute}"):
                yield node.lineno, f"client.{attribute}: {sentence}"


def _call(node: ast.Call) -> Iterator[tuple[int, str]]:
    function = ast.unparse(node.func)
    if function.endswith(("request.fire", "request_event.fire")):
        yield (
            node.lineno,
            "events.request.fire: a request that our client did not send is in no table",
        )
    module, _, verb = function.partition(".")
    if module in ("requests", "httpx", "aiohttp", "urllib3") and verb in _VERBS:
        yield node.lineno, f"{function}: not sent by the user's client, so it is in no table"
    if function.rpartition(".")[2] in _VERBS and "client" in function:
        for keyword in node.keywords:
            if keyword.arg in _KEYWORDS:
                yield node.lineno, f"{keyword.arg}=: {_KEYWORDS[keyword.arg]}"
