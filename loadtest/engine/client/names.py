"""
Addresses of names: when they are looked up, how long an answer counts, what overrules it.

Look-ups are the system's own (getaddrinfo), so that what counts for every other program on the
machine counts here: its files, its resolver, its order of families.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver
import gevent
import idna
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from loadtest.errors import EngineError
from loadtest.records.facts import MOST_MOVES
from loadtest.units import NS_PER_S

EACH: Final = "connection"
"""Every new connection looks its name up."""
TTL: Final = "ttl"
"""An answer counts as long as its records say."""
ONCE: Final = "once"
"""The first answer counts for the whole run."""

_AT_ONCE: Final = 256  # look-ups under way; each has a thread, which sleeps in the system
_TTL_WITHIN_S: Final = 2.0
_NEVER: Final = 1 << 62
_monotonic_ns = time.monotonic_ns


class Address:
    """One socket address: family and what connect() takes."""

    __slots__ = ("family", "host", "sockaddr")

    def __init__(self, family: int, sockaddr: tuple[Any, ...]) -> None:
        self.family = family
        self.sockaddr = sockaddr
        self.host: str = sockaddr[0]


Answer = tuple[list[Address], int]
"""Addresses, and until when they count (CLOCK_MONOTONIC, nanoseconds)."""


class AddressResolver:
    """
    Finds the addresses of names, for the users of one process.

    Users who share an answer (``ttl``, ``once``) share the look-up too; where every connection
    looks up for itself, each pays the whole time, as a visitor does.

    Args:
        lookups: ``connection``, ``ttl`` or ``once``.
        given: Name -> literal address, in place of a look-up, as curl's --resolve.
        look_up: Asks the system.
        ttl_s: Tells how long the records of a name count; None where nobody knows.
    """

    def __init__(
        self,
        lookups: str = EACH,
        given: Mapping[str, str] | None = None,
        *,
        look_up: Callable[[str, int], list[Address] | OSError] | None = None,
        ttl_s: Callable[[str], float | None] | None = None,
    ) -> None:
        self._lookups = lookups
        self._given = {ascii_name(name): address for name, address in (given or {}).items()}
        self._look_up = look_up or system_look_up
        self._ttl_s = ttl_s or record_ttl_s
        self._kept: dict[tuple[str, int], Answer] = {}
        self._pending: dict[tuple[str, int], Any] = {}
        self._threads: ThreadPool | None = None
        self._seen: dict[str, set[str]] = {}
        self.moves: list[tuple[int, str, tuple[str, ...], tuple[str, ...]]] = []
        """When (CLOCK_MONOTONIC) a name had new addresses, those before, the new ones."""

    def addresses(self, host: str, port: int) -> list[Address]:
        """
        Return a name's addresses, in the order the system gives; may block the calling greenlet.

        Raises:
            OSError: The name has none.
        """
        key = (host, port)
        kept = self._kept.get(key)
        if kept is not None and (kept[1] == _NEVER or _monotonic_ns() < kept[1]):
            return kept[0]
        if (literal := _literal(self._given.get(host, host), port)) is not None:
            self._kept[key] = (literal, _NEVER)
            return literal
        if self._lookups == EACH:
            found = _or_raise(self._in_thread(self._look_up, host, port))
            self._watch(host, found)
            return found
        return self._shared(key)

    def _in_thread(self, function: Callable[..., Any], *values: Any) -> Any:
        """Call a function where it cannot hold up the hub; returns what it returns."""
        if self._threads is None:
            self._threads = ThreadPool(_AT_ONCE)
        return self._threads.spawn(function, *values).get()

    def _shared(self, key: tuple[str, int]) -> list[Address]:
        pending = self._pending.get(key)
        if pending is None:
            # its own greenlet: who gives up waiting does not take the answer from the others
            pending = self._pending[key] = gevent.spawn(self._in_thread, self._look_up, *key)
            pending.link(lambda done: self._keep(key, done.value))
        return _or_raise(pending.get())

    def _keep(self, key: tuple[str, int], found: list[Address] | OSError) -> None:
        self._pending.pop(key, None)
        if isinstance(found, OSError):
            return
        self._kept[key] = (found, _NEVER)
        self._watch(key[0], found)
        if self._lookups == TTL:
            gevent.spawn(self._set_end, key, found, _monotonic_ns())

    def _watch(self, host: str, found: list[Address]) -> None:
        """Note addresses that no answer had before: the name leads elsewhere from now on."""
        now = {address.host for address in found}
        seen = self._seen.setdefault(host, now)
        if (new := now - seen) and len(self.moves) < MOST_MOVES:
            move = (_monotonic_ns(), host, tuple(sorted(seen)), tuple(sorted(new)))
            self.moves.append(move)
        if new:
            self._seen[host] = seen | new

    def _set_end(self, key: tuple[str, int], found: list[Address], since_ns: int) -> None:
        """See how long an answer counts; whoever asks meanwhile has it."""
        ttl_s = self._in_thread(self._ttl_s, key[0]) or 0.0
        self._kept[key] = (found, since_ns + int(ttl_s * NS_PER_S))


def ascii_name(host: str) -> str:
    """
    Return a host's name as DNS and the Host header have it: IDNA 2008, lower case.

    Raises:
        EngineError: It is no name.

    Source: RFC 5891; Unicode TS 46 for what people type (capitals, full-width letters).
    """
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise EngineError(f"host {host!r} is no name: {error}") from None


def system_look_up(host: str, port: int) -> list[Address] | OSError:
    """Return what getaddrinfo finds; its failure as a value: gevent prints what a thread raises."""
    try:
        found = get_original("socket", "getaddrinfo")(host, port, 0, socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(f"no valid name: {error}")
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def record_ttl_s(host: str) -> float | None:
    """Return the least time that the addresses of a name count, in seconds; None if untold."""
    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        return None
    found: list[int] = []
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        for server in servers[:2]:
            answer = _ask(str(server), dns.message.make_query(host, kind))
            if answer is not None:
                found += [rrset.ttl for rrset in answer.answer]
                break
    return float(min(found)) if found else None


def _ask(server: str, query: dns.message.Message) -> dns.message.Message | None:
    """Ask one server by UDP, through the system's own sockets: this is no greenlet."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    original: type[socket.socket] = get_original("socket", "socket")
    try:
        with original(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_TTL_WITHIN_S)
            sock.connect((server, 53))
            sock.send(query.to_wire())
            answer = dns.message.from_wire(sock.recv(65_535), ignore_trailing=True)
    except (OSError, dns.exception.DNSException):
        return None
    return answer if query.is_response(answer) else None


def _or_raise(found: list[Address] | OSError) -> list[Address]:
    if isinstance(found, OSError):
        raise found
    return found


def _literal(host: str, port: int) -> list[Address] | None:
    """Return the address that a literal such as 127.0.0.1 or ::1 names, or None for a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return [Address(socket.AF_INET, (host, port))]
    plain, _, scope = host.partition("%")
    try:
        scope_id = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return None
    return [Address(socket.AF_INET6, (plain, port, 0, scope_id))]
