"""
The name server of one machine, on the address and port where Fly's answers.

Source: RFC 1035; Fly's documentation, networking/private-networking.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL_S = 5
"""How long an answer may be kept, as Fly's."""

_TEXT_BYTES = 250  # a string of a TXT record has 255 at most
_DATAGRAM_BYTES = 1_232  # what passes every path without being cut (DNS flag day 2020)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one name; a name without records of the kind asked for exists all the same."""

    ip6: tuple[str, ...] = ()
    ip4: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


Lookup = Callable[[str], Awaitable[Records | None]]


class NameServer:
    """
    Answers what one machine asks, from its making until `close`.

    Args:
        sock: A bound UDP socket that does not block; it is closed with the server.
        lookup: Returns the records of a name, None when there is no such name.
    """

    def __init__(self, sock: socket.socket, lookup: Lookup) -> None:
        self._sock = sock
        self._lookup = lookup
        self._asked: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        """Stop answering."""
        self._loop.remove_reader(self._sock)
        for task in self._asked:
            task.cancel()
        self._sock.close()

    def _on_readable(self) -> None:
        try:
            query, asker = self._sock.recvfrom(_DATAGRAM_BYTES)
        except OSError:
            return
        # looking up may take a moment, in which others may ask
        task = self._loop.create_task(self._reply(query, asker))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _reply(self, query: bytes, asker: tuple[str, int]) -> None:
        reply = await answer(query, self._lookup)
        if reply is not None:
            with contextlib.suppress(OSError):  # the asker is gone
                self._sock.sendto(reply, asker)


async def answer(query: bytes, lookup: Lookup) -> bytes | None:
    """
    Return the answer to one DNS message; None for what is no question.

    Args:
        query: The message as it came.
        lookup: Returns the records of a name, None when there is no such name.
    """
    try:
        asked = dns.message.from_wire(query)
        if asked.flags & dns.flags.QR or len(asked.question) != 1:
            return None
        question = asked.question[0]
        reply = dns.message.make_response(asked, recursion_available=True)
    except (dns.exception.DNSException, ValueError):
        return None
    try:
        records = await lookup(question.name.to_text(omit_final_dot=True).lower())
    except Exception:  # an answer that says "try again" is better than none, which costs 5 s
        _log.exception("looking up %s", question.name)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire()
    if records is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
    reply.flags |= dns.flags.AA
    contents = {
        dns.rdatatype.AAAA: records.ip6,
        dns.rdatatype.A: records.ip4,
        dns.rdatatype.TXT: records.texts,
    }.get(question.rdtype, ())
    if contents:
        found = [_content(question.rdtype, text) for text in contents]
        reply.answer.append(dns.rrset.from_rdata_list(question.name, TTL_S, found))
    try:
        return reply.to_wire(max_size=_DATAGRAM_BYTES, want_shuffle=False)
    except dns.exception.TooBig:
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire()


@lru_cache(maxsize=4_096)
def _content(kind: dns.rdatatype.RdataType, text: str) -> dns.rdata.Rdata:
    """Return what a record holds, as bytes: a name of many machines is asked for by all of them."""
    if kind == dns.rdatatype.TXT:
        parts = [text[i : i + _TEXT_BYTES] for i in range(0, len(text), _TEXT_BYTES)] or [""]
        data = b"".join(bytes([len(part)]) + part.encode("ascii", "replace") for part in parts)
    else:
        data = ipaddress.ip_address(text).packed
    return dns.rdata.GenericRdata(dns.rdataclass.IN, kind, data)
