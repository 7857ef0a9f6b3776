"""
What coordinator and workers say to each other, and what both read from their environment.

Messages travel over Locust's connection as its custom messages.  Each may be lost or come twice (a
link breaks, a sender repeats itself), so each is idempotent: it names run and segment and states a
fact, and whoever waits for an answer asks again.

    worker -> coordinator          coordinator -> worker
    lt-hello  who I am             lt-prepare  an order; get ready
    lt-clock  time, please         lt-clock    three stamps
    lt-ready  prepared             lt-start    when to begin
    lt-failed cannot, because      lt-stop     end the load now
    lt-batch  rows, numbered       lt-ack      rows are kept
    lt-health one second of it     lt-release  everything is merged
    lt-fin    done, my counts
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zmq.utils import z85

from loadtest.errors import EngineError

PROTOCOL: Final = 1
"""Version of the messages; a worker of another version is refused."""

HELLO: Final = "lt-hello"
CLOCK: Final = "lt-clock"
PREPARE: Final = "lt-prepare"
READY: Final = "lt-ready"
FAILED: Final = "lt-failed"
START: Final = "lt-start"
STOP: Final = "lt-stop"
BATCH: Final = "lt-batch"
ACK: Final = "lt-ack"
HEALTH: Final = "lt-health"
FIN: Final = "lt-fin"
RELEASE: Final = "lt-release"

TO_COORDINATOR: Final = frozenset({HELLO, CLOCK, READY, FAILED, BATCH, HEALTH, FIN})

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

REPEAT_S: Final = 1.0
"""How often an unanswered message is said again; above the longest round trip on Earth."""

LOST_AFTER_S: Final = 12.0
"""
A worker that has said nothing for so long is lost; a link that was cut for 5 s is not.
LOADTEST_LOST_AFTER_S in the coordinator's environment overrules it.
"""

ORPHANED_AFTER_S: Final = 30.0
"""
A worker that has heard nothing from its coordinator for so long gives up.
LOADTEST_ORPHANED_AFTER_S in the worker's environment overrules it.
"""


@dataclass(frozen=True, slots=True, repr=False)
class CurveKeys:
    """
    Keys of the encrypted connection, Z85 text of 40 characters each; never shown.  The environment
    may have them as 64 hex digits too, which no reader of such files takes for anything else.

    Workers share one key pair: it says "belongs to this run", not who they are.
    """

    server_public: str
    client_public: str
    secret: str
    """The secret key of the side that this process is."""


def curve_keys(side: str, environment: Mapping[str, str] | None = None) -> CurveKeys:
    """
    Read the keys of one side, ``SERVER`` or ``CLIENT``, from the environment.

    Raises:
        EngineError: A key is missing or is none; names the variable, not its value.
    """
    names = [f"LOADTEST_CURVE_{name}" for name in ("SERVER_PUBLIC", "CLIENT_PUBLIC")]
    names.append(f"LOADTEST_CURVE_{side}_SECRET")
    values = [required(name, environment) for name in names]
    return CurveKeys(*map(_key, names, values))


def _key(name: str, value: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return z85.encode(bytes.fromhex(value)).decode()
    if len(value) != 40 or not set(value.encode()) <= set(z85.Z85CHARS):
        raise EngineError(
            f"{name}: neither 64 hex digits nor a Z85 key of 40 characters; `loadtest keys` makes "
            "them"
        )
    return value


def required(name: str, environment: Mapping[str, str] | None = None) -> str:
    """
    Return an environment variable.

    Raises:
        EngineError: It is not set; says who sets it.
    """
    value = (os.environ if environment is None else environment).get(name, "")
    if not value:
        raise EngineError(
            f"{name} is not set; `loadtest run` sets it for every machine it starts, and `loadtest "
            "keys` makes what machines of your own need"
        )
    return value


def seconds(name: str, default_s: float, environment: Mapping[str, str] | None = None) -> float:
    """
    Return an environment variable that holds seconds, or the default.

    Raises:
        EngineError: No number from 1 to 3600.
    """
    text = (os.environ if environment is None else environment).get(name, "")
    if not text:
        return default_s
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 3_600:
        raise EngineError(f"{name}: {text!r}; allowed are 1 to 3600 seconds")
    return value


def log_level(name: str, environment: Mapping[str, str] | None = None) -> str:
    """
    Return an environment variable that names a level of the log, or WARNING.

    Raises:
        EngineError: No such level; says which there are.
    """
    text = (os.environ if environment is None else environment).get(name, "") or "WARNING"
    if text.upper() not in LOG_LEVELS:
        raise EngineError(f"{name}: {text!r} is no level; allowed are {', '.join(LOG_LEVELS)}")
    return text.upper()


def port_number(name: str, text: str) -> int:
    """
    Return a TCP port from a setting's text.

    Raises:
        EngineError: No number from 1 to 65535.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise EngineError(f"{name}: {text!r} is no port; allowed is 1 to 65535")
    return int(text)


def split_address(name: str, text: str) -> tuple[str, int]:
    """
    Return host and port of ``host:port``; an IPv6 host stands in brackets.

    Raises:
        EngineError: The text has no such form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise EngineError(f"{name}: {text!r} is no address; write host:port")
    return host, port_number(name, port)
