"""What to do about an app that does not start, as far as its own last words tell."""

from __future__ import annotations

import re

_VARIABLE = r"['\"`]?([A-Z][A-Z0-9]*_[A-Z0-9_]+)['\"`]?"
# Where a program says that a variable of its environment is not there.
_MISSING_VARIABLE = re.compile(
    rf"KeyError: {_VARIABLE}"
    rf"|{_VARIABLE}:? (?:(?:environment )?variable )?(?:is |was |must be |has to be |needs to be )?"
    r"(?:not set|unset|undefined|missing|required|set\b|not defined|not found|empty)"
    r"|(?i:missing|required|undefined|no|set the)(?i: required)?(?i: environment)?"
    r"(?i: variables?| env var)?:? "
    rf"{_VARIABLE}"
    rf"|(?i:environment variable) {_VARIABLE}"
)
_MISSING_PROGRAM = re.compile(
    r"MODULE_NOT_FOUND|Cannot find (?:module|package)|ModuleNotFoundError|No module named"
    r"|cannot load such file|Could not find .* in (?:any of|locally installed)|Bundler::GemNotFound"
    r"|command .* was not found in|command not found|: not found$|ClassNotFoundException"
    r"|no required module provides|error while loading shared libraries",
    re.MULTILINE,
)
_REDIS = re.compile(r"\b(?:REDIS|VALKEY)_(?:URL|HOST)\b|:6379\b|\bRedis::CannotConnect")
_WANTS_REDIS = (
    "it wants Redis: --redis puts a compatible server beside it and sets REDIS_URL; under another "
    "name, a plan's [[companions]] does (variable)"
)
_MISSING_EXTENSION = re.compile(
    r"extension \"?([\w-]+)\"? is not available|extension/([\w-]+)\.control"
)
_PORT_TAKEN = re.compile(r"EADDRINUSE|[Aa]ddress already in use|Errno 98")
_OTHER_SERVERS = (
    (re.compile(r"\bmysql|:3306\b|MariaDB", re.IGNORECASE), "MySQL"),
    (re.compile(r"mongo(?:db|ose)?\b|:27017\b", re.IGNORECASE), "MongoDB"),
    (re.compile(r"rabbitmq|amqp|:5672\b", re.IGNORECASE), "RabbitMQ"),
    (re.compile(r"kafka|:9092\b", re.IGNORECASE), "Kafka"),
    (re.compile(r"elasticsearch|:9200\b", re.IGNORECASE), "Elasticsearch"),
)


def advise(told: str) -> str:
    """
    Return a sentence for the person whose app does not start; empty when nothing is recognised.

    Args:
        told: The error, with the app's last output.
    """
    if found := _MISSING_VARIABLE.search(told):
        return _variable_advice(next(group for group in found.groups() if group))
    if found := _MISSING_EXTENSION.search(told):
        name = found[1] or found[2]
        return (
            f"the PostgreSQL of this world has no extension {name}; give the app another database"
        )
    if _MISSING_PROGRAM.search(told):
        return (
            "what it needs is not among its files: prepare each revision with --setup 'npm ci' or "
            "the like, name its programs with --programs .venv/bin, or run its --image"
        )
    if _PORT_TAKEN.search(told):
        return (
            "another machine has its port: let it listen on $PORT, or use network.layer 'hosts', "
            "where every machine has ports of its own"
        )
    return _server_advice(told)


def _variable_advice(name: str) -> str:
    if _REDIS.search(name):
        return _WANTS_REDIS
    return (
        f"{name} is not in its environment: give it with --env {name}=..., --env-file FILE, or "
        f"--secret {name} from your own"
    )


def _server_advice(told: str) -> str:
    if _REDIS.search(told):
        return _WANTS_REDIS
    for pattern, name in _OTHER_SERVERS:
        if pattern.search(told):
            return (
                f"it seems to want {name}, which is not offered here; start one yourself and "
                "give the app its address with --env"
            )
    return ""


def with_advice(told: str) -> str:
    """Return an error's text with advice under it, if there is any."""
    advice = advise(told)
    return f"{told}\n{advice}" if advice else told
