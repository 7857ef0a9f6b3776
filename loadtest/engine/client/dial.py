"""
From a name to a line that requests can be sent on: resolve, connect, shake hands, each phase timed.

TLS runs over memory BIOs from the handshake on, so the socket itself is always read as plain bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

from gevent.monkey import get_original

from loadtest.engine.client.limits import Limits
from loadtest.engine.client.names import Address, AddressResolver
from loadtest.engine.client.origin import Origin
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import READ, WRITE, Expired, Failure, HubWaiter, blamed, why
from loadtest.kernel.stamps import enable_receive_stamps, tcp_info
from loadtest.records.kinds import HTTP_1, HTTP_2, HTTP_AUTO
from loadtest.units import NS_PER_S

_READ_BYTES: Final = 64 * 1024
_ATTEMPT_DELAY_NS: Final = NS_PER_S // 4
_monotonic_ns = time.monotonic_ns


class Tls:
    """A TLS session between two memory BIOs."""

    __slots__ = ("incoming", "outgoing", "session")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)


class Dialer(HubWaiter):
    """
    Opens one line.

    Args:
        origin: Where to.
        limits: Time-outs of the phases.
        instruments: The hub's shared parts.
        silent: Addresses that let the user wait when others answered: they are tried last, and who
            does so now is noted; None where nothing is known of any.
    """

    def __init__(
        self,
        origin: Origin,
        limits: Limits,
        instruments: Instruments,
        silent: set[tuple[Any, ...]] | None = None,
    ) -> None:
        super().__init__(instruments)
        self._silent = silent
        self._origin = origin
        self._limits = limits
        self.socket: Any = None
        """The connected, non-blocking socket."""
        self.tls: Tls | None = None
        self.protocol = HTTP_1
        """What is spoken on it, once it is dialled."""

    def dial(self, sample: RequestSample, resolver: AddressResolver, cap_s: float | None) -> None:
        """
        Resolve, connect, shake hands; the phases' times go into the sample.

        They are added to what it waited in the same phases of another request's connection, which
        turned out to be no use to it.

        Args:
            sample: Gets dns_ns, connect_ns, tls_ns, address, connect_rtt_us.
            resolver: Addresses of names.
            cap_s: Lowers every phase's time-out that is longer; None for none.

        Raises:
            Failure: A phase failed; its time until then is in the sample, nothing is left open.
        """
        limits = self._limits
        start = _monotonic_ns()
        try:
            addresses = self._resolve(resolver, _lower(limits.dns_s, cap_s))
        finally:
            resolved = _monotonic_ns()
            sample.dns_ns += resolved - start
        try:
            deadline_ns = resolved + int(_lower(limits.connect_s, cap_s) * NS_PER_S)
            self._connect(addresses, deadline_ns, sample)
        except BaseException:
            self.hang_up()
            raise
        finally:
            connected = _monotonic_ns()
            sample.connect_ns += connected - resolved
        if self._origin.context is None:
            self.protocol = HTTP_2 if self._origin.http == HTTP_2 else HTTP_1
            return
        try:
            deadline_ns = connected + int(_lower(limits.tls_s, cap_s) * NS_PER_S)
            self._shake_hands(self._origin.context, deadline_ns)
            self._agree()
        except BaseException:
            self.hang_up()
            raise
        finally:
            sample.tls_ns += _monotonic_ns() - connected

    def _agree(self) -> None:
        """See which version the server chose; one that chose none speaks HTTP/1.1 (RFC 7301)."""
        assert self.tls is not None
        chosen = self.tls.session.selected_alpn_protocol() or "http/1.1"
        self.protocol = HTTP_2 if chosen == "h2" else HTTP_1
        if self._origin.http not in (HTTP_AUTO, self.protocol):
            raise Failure("tls", f"HTTP/{self._origin.http} was asked for, not agreed to by ALPN")

    def hang_up(self) -> None:
        """Close the socket; harmless without one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _resolve(self, resolver: AddressResolver, timeout_s: float) -> list[Address]:
        host, port = self._origin.name, self._origin.port
        self.guard(_monotonic_ns() + int(timeout_s * NS_PER_S))
        try:
            return resolver.addresses(host, port)
        except Expired:
            raise Failure("dns", f"no answer for {host!r} within {timeout_s:g} s") from None
        except OSError as error:
            kind = "generator" if _is_full() else blamed(error.errno, "dns")
            raise Failure(kind, f"cannot resolve {host!r}: {why(error)}") from None
        finally:
            self.unguard()

    def _connect(self, addresses: list[Address], deadline_ns: int, sample: RequestSample) -> None:
        """
        Connect to the address that answers first; each has a head start before the next is tried.

        Source: RFC 8305, sections 4 (families in turn; what a client knows of addresses) and 5
        (connection attempt delay).
        """
        failure = Failure("connect", f"{self._origin.name!r} has no address")
        left = _interleaved(addresses)
        if self._silent:
            left.sort(key=self._is_silent)
        trying: dict[Any, Address] = {}
        try:
            while left or trying:
                if left:
                    address = left.pop(0)
                    sample.address = address.host
                    try:
                        trying[self._begin_connect(address)] = address
                    except Failure as error:
                        failure = error
                        continue
                head_start_ns = _monotonic_ns() + _ATTEMPT_DELAY_NS
                until_ns = min(deadline_ns, head_start_ns) if left else deadline_ns
                try:
                    ready = self._wait_for_any(trying, until_ns)
                except Expired:
                    if left and until_ns < deadline_ns:
                        continue
                    names = ", ".join(address.host for address in trying.values())
                    where = f"{names} port {self._origin.port}"
                    raise Failure("connect-timeout", f"no answer from {where} in time") from None
                address = trying.pop(ready)
                self.socket, sample.address = ready, address.host
                code = ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    if (info := tcp_info(ready)) is not None:
                        sample.connect_rtt_us = info.rtt_us
                    self._note_silent(address, trying.values())
                    return
                failure = self._refusal(address, code)
                self.hang_up()
        finally:
            for loser in trying:
                loser.close()
        raise failure

    def _is_silent(self, address: Address) -> bool:
        return self._silent is not None and address.sockaddr in self._silent

    def _note_silent(self, answered: Address, others: Iterable[Address]) -> None:
        if self._silent is not None:
            self._silent.discard(answered.sockaddr)
            self._silent.update(address.sockaddr for address in others)

    def _begin_connect(self, address: Address) -> Any:
        """Return a socket that connects; Failure if it cannot even begin."""
        # the platform's own socket: waiting is done here, whatever Locust has patched
        original: type[socket.socket] = get_original("socket", "socket")
        try:
            sock = original(address.family, socket.SOCK_STREAM)
        except OSError as error:
            kind = blamed(error.errno, "connect")
            where = f"{address.host} port {self._origin.port}"
            raise Failure(kind, f"no socket for {where}: {why(error)}") from None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._instruments.keeper.active:
            enable_receive_stamps(sock)
        code = sock.connect_ex(address.sockaddr)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise self._refusal(address, code)
        return sock

    def _wait_for_any(self, sockets: Iterable[Any], deadline_ns: int) -> Any:
        """Return the first of some sockets whose connecting is over; Expired at the deadline."""
        self.guard(deadline_ns)
        watchers = []
        try:
            for sock in sockets:
                watcher = self._hub.loop.io(sock.fileno(), WRITE)
                watcher.start(self._greenlet.switch, sock)
                watchers.append(watcher)
            return self._hub.switch()
        finally:
            self.unguard()
            for watcher in watchers:
                watcher.stop()
                watcher.close()

    def _refusal(self, address: Address, code: int) -> Failure:
        where = f"{address.host} port {self._origin.port}"
        if code == errno.ECONNREFUSED:
            return Failure("connect-refused", f"{where} refused the connection")
        if code == errno.ETIMEDOUT:
            return Failure("connect-timeout", f"no answer from {where}")
        kind = blamed(code, "connect")
        return Failure(kind, f"cannot connect to {where}: {os.strerror(code)}")

    def _shake_hands(self, context: ssl.SSLContext, deadline_ns: int) -> None:
        try:
            self.tls = Tls(context, self._origin.server_name)
            while not self._handshake_step(self.tls, deadline_ns):
                pass
        except Expired:
            raise Failure("tls", "the TLS handshake was not finished in time") from None
        except ssl.SSLCertVerificationError as error:
            raise Failure("tls", f"certificate refused: {error.verify_message}") from None
        except OSError as error:  # ssl.SSLError is one, whose numbers are not the system's
            code = None if isinstance(error, ssl.SSLError) else error.errno
            raise Failure(blamed(code, "tls"), f"TLS handshake failed: {why(error)}") from None
        except ValueError as error:  # a name that no certificate can carry
            raise Failure("tls", f"TLS handshake failed: {error}") from None

    def _handshake_step(self, tls: Tls, deadline_ns: int) -> bool:
        """Go as far as the bytes at hand reach; returns True when the handshake is done."""
        try:
            tls.session.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError:
            self._tell_why(tls)
            raise
        self._send_all(tls.outgoing.read(), deadline_ns)
        if done:
            return True
        while True:
            try:
                data = self.socket.recv(_READ_BYTES)
                break
            except BlockingIOError:
                self.wait(self.socket.fileno(), READ, deadline_ns)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the server closed during the handshake")
        tls.incoming.write(data)
        return False

    def _tell_why(self, tls: Tls) -> None:
        """Send the alert, as far as the socket takes it."""
        with contextlib.suppress(OSError):  # the handshake's failure is what gets reported
            self.socket.send(tls.outgoing.read())

    def _send_all(self, data: bytes, deadline_ns: int) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self.wait(self.socket.fileno(), WRITE, deadline_ns)


def _is_full() -> bool:
    """Tell whether this process can open no descriptor more, which a look-up does not say."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Return addresses with their families in turn, the resolver's first one first."""
    if len(addresses) < 2:
        return list(addresses)
    first = [address for address in addresses if address.family == addresses[0].family]
    other = [address for address in addresses if address.family != addresses[0].family]
    paired = [address for pair in zip(first, other, strict=False) for address in pair]
    rest = min(len(first), len(other))
    return [*paired, *first[rest:], *other[rest:]]


def _lower(limit_s: float, cap_s: float | None) -> float:
    return limit_s if cap_s is None or cap_s > limit_s else cap_s
