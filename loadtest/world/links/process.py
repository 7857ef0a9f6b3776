"""
The links process: ``python -m loadtest.world.links.process``.

It obeys JSON lines on standard input, one answer line each on standard output, and ends when
standard input does, so that it never outlives the process that started it.

    {"id": 1, "op": "open", "link": "a", "target": ["127.0.0.1", 5432], "one_way_ns": 52000000,
     "kind": "stream"}                                  -> {"id": 1, "ok": 40123}
    {"id": 2, "op": "close", "link": "b"}               -> {"id": 2, "error": "no link 'b'"}
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from loadtest.faults import RoadCondition
from loadtest.kernel.descriptors import raise_descriptor_limit
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.relay import ANY_PORT, Relay
from loadtest.world.links.wait import READ, WRITE, sharpen

KINDS = ("stream", "backhaul", "bulk")
_READ_BYTES = 65_536


class ControlChannel:
    """
    The relay's ear: reads commands, carries them out, writes the answers.

    Args:
        relay: What is commanded.
        source: Descriptor of the commands; its end stops the relay.
        sink: Descriptor of the answers.
        priority: What the kernel granted, see :func:`sharpen`.
    """

    def __init__(self, relay: Relay, source: int, sink: int, priority: str) -> None:
        self._relay = relay
        self._priority = priority
        self._source = source
        self._sink = sink
        self._partial = b""
        self._outgoing = b""
        self._operations: dict[str, Callable[[dict[str, object]], Any]] = {
            "open": self._open,
            "counters": self._counters,
            "status": self._status,
            "settle": self._settle,
            "strays": self._strays,
            "road": self._set_road,
            "lateness": lambda _: relay.lateness.drain(),
            "forget": lambda request: relay.sockets.forget(str(request["place"])),
        }
        self._of_link: dict[str, Callable[[str, dict[str, object]], Any]] = {
            "retarget": self._retarget,
            "close": lambda name, _: relay.close(name),
        }
        os.set_blocking(source, False)
        os.set_blocking(sink, False)
        relay.watch(source, READ, self._on_readable)

    def _on_readable(self, _mask: int) -> None:
        try:
            data = os.read(self._source, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._relay.stop()
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._outgoing += json.dumps(self._answer(line)).encode() + b"\n"
        self._flush(0)

    def _flush(self, _mask: int) -> None:
        try:
            sent = os.write(self._sink, self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._relay.stop()
            return
        self._outgoing = self._outgoing[sent:]
        if self._outgoing:
            self._relay.watch(self._sink, WRITE, self._flush)
        else:
            self._relay.forget(self._sink)

    def _answer(self, line: bytes) -> dict[str, Any]:
        number = None
        try:
            request = json.loads(line)
            number = request["id"]
            return {"id": number, "ok": self._obey(request)}
        except LookupError as error:
            return {"id": number, "error": f"the command lacks or does not know {error}"}
        except (ValueError, TypeError, OSError) as error:
            return {"id": number, "error": str(error)}

    def _obey(self, request: dict[str, Any]) -> Any:
        operation = str(request["op"])
        if operation in self._operations:
            return self._operations[operation](request)
        if operation not in self._of_link:
            raise ValueError(f"no operation {operation!r}")
        name = str(request["link"])
        if name not in self._relay.links:
            raise ValueError(f"no link {name!r}")
        return self._of_link[operation](name, request)

    def _counters(self, _request: dict[str, Any]) -> dict[str, list[int]]:
        return {
            name: [link.connections, link.flights, link.bytes_out, link.bytes_in]
            for name, link in self._relay.links.items()
        }

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        relay = self._relay
        return {
            "clock": "kernel" if relay.clock.kernel else "user",
            "priority": self._priority,
            "lead_ns": relay.lead_ns,
            "deliveries": relay.deliveries,
            "links": len(relay.links),
        }

    def _settle(self, request: dict[str, Any]) -> int:
        relay, whole = self._relay, frozenset(map(str, request["whole"]))
        return sum(relay.settle(name, whole=name in whole) for name in relay.links)

    def _strays(self, request: dict[str, Any]) -> dict[str, Any]:
        relay, whole = self._relay, frozenset(map(str, request["whole"]))
        found = {name: relay.strays(name, whole=name in whole) for name in relay.links}
        live = {name: len(link.live) for name, link in relay.links.items()}
        return {"live": live, "strays": {name: led for name, led in found.items() if led}}

    def _set_road(self, request: dict[str, Any]) -> None:
        condition = RoadCondition(**request["condition"])
        sends, receives = map(str, request["road"])
        self._relay.set_road((sends, receives), condition, str(request["seed"]))

    def _retarget(self, name: str, request: dict[str, Any]) -> None:
        delay_ns = request.get("one_way_ns")
        self._relay.lead(
            name,
            _address(request["target"]),
            None if delay_ns is None else int(delay_ns),
            _ends(request),
        )

    def _open(self, request: dict[str, Any]) -> int:
        name = str(request["link"])
        kind, one_way_ns = request["kind"], int(request["one_way_ns"])
        if name in self._relay.links:
            raise ValueError(f"link {name!r} is open already")
        if kind not in KINDS:
            raise ValueError(f"kind of link {name!r} is {kind!r}; allowed: {', '.join(KINDS)}")
        if one_way_ns < 0:
            raise ValueError(f"one_way_ns of link {name!r} is {one_way_ns}; it must be 0 or more")
        listen = _address(request.get("listen")) or ANY_PORT
        target = _address(request["target"])
        ends = _ends(request)
        return self._relay.open(name, target, one_way_ns, kind, listen=listen, ends=ends)


def _address(value: list[Any] | None) -> LinkAddress | None:
    return (
        None if value is None else LinkAddress(str(value[0]), int(value[1]), *map(str, value[2:3]))
    )


def _ends(request: dict[str, Any]) -> tuple[str, str] | None:
    if request.get("ends") is None:
        return None
    source, target = map(str, request["ends"])
    return source, target


def main() -> None:
    """Serve links until standard input ends."""
    # Who stops this process closes its standard input; a Ctrl-C meant for others must not.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    priority = sharpen()
    relay = Relay()
    ControlChannel(relay, sys.stdin.fileno(), sys.stdout.fileno(), priority)
    # Nothing here makes rings, so the collector would only ever pause the loop.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        relay.run()
    finally:
        relay.shut()


if __name__ == "__main__":
    main()
