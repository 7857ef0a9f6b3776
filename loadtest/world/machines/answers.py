"""What fly.toml has edges do to the headers of a machine's answers, and remember of its replays."""

from __future__ import annotations

from loadtest.fly.machines import MachineConfig
from loadtest.fly.port_options import HttpOptions, ReplayCache
from loadtest.world.edge.http import HOP_BY_HOP
from loadtest.world.edge.types import AnswerOptions

_FRAMING = HOP_BY_HOP | {b"content-length"}


def answer_options(config: MachineConfig) -> AnswerOptions | None:
    """
    Return what is done to the answers of a machine's first HTTP service; None leaves them.

    Headers that say where a body ends are the edge's own business.

    Args:
        config: The machine's.
    """
    options = _options(config)
    if options is None:
        return None
    gone, added = set[bytes](), list[tuple[bytes, bytes]]()
    for name, value in options.response_headers.items():
        key = name.lower().encode()
        if key in _FRAMING:
            continue
        gone.add(key)
        if value is not False:
            values = value if isinstance(value, tuple) else (value,)
            added += [(key, str(text).encode()) for text in values]
    if not gone and not options.pristine:
        return None
    return AnswerOptions(frozenset(gone), tuple(added), pristine=bool(options.pristine))


def replay_caches(config: MachineConfig) -> tuple[ReplayCache, ...]:
    """Return what the replays of a machine's first HTTP service are remembered by."""
    options = _options(config)
    return () if options is None else options.replay_cache


def _options(config: MachineConfig) -> HttpOptions | None:
    """Return what is done to HTTP on the first port of a machine that has it."""
    ports = (port for service in config.services if service.is_http for port in service.ports)
    return next((port.http for port in ports if "http" in port.handlers), None)
