"""
Locust's ZeroMQ connection, authenticated, encrypted, and deaf to nonsense.

Locust trusts any peer: whoever reaches its port becomes a worker, and one malformed byte ends the
coordinator's listener.  Here the transport is CURVE (Curve25519), a ZAP handler admits the one
client key of this run, and a message that is not exactly what Locust or we send is dropped and
counted.

Source: ZeroMQ RFC 26 (CURVE), RFC 27 (ZAP).
"""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import msgpack
import zmq.green as zmq
from gevent import socket
from locust import runners
from locust.exception import RPCError
from locust.rpc.protocol import Message, decode, encode
from locust.rpc.zmqrpc import BaseSocket
from zmq.error import ZMQError
from zmq.utils import z85

from loadtest.engine.wire.protocol import TO_COORDINATOR, CurveKeys
from loadtest.errors import EngineError

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 << 20
_MAX_ID_LENGTH = 200
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 2_000, 10_000
_RECONNECT_MS, _RECONNECT_MAX_MS = 100, 1_000
_REFUSALS = 5
"""Handshakes in a row that end without a reason until that is no broken link any more."""
_GREETING = b"\xff"  # the first byte that a ZeroMQ peer says, RFC 23; it says so unasked
_GREETS_WITHIN_S = 5.0
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = b"loadtest"

# Locust's own messages that a worker of ours sends, and what their data must look like
_LOCUST_SHAPES: dict[str, Callable[[Any], bool]] = {
    "client_ready": lambda data: isinstance(data, str) and 0 < len(data) < 100,
    "client_stopped": lambda data: data is None,
    "heartbeat": lambda data: _has(
        data, state=str, current_cpu_usage=(int, float), current_memory_usage=int
    ),
    "spawning": lambda data: data is None,
    "spawning_complete": lambda data: _has(data, user_classes_count=dict, user_count=int),
    "stats": lambda data: _has(data, stats=list, stats_total=dict, user_classes_count=dict),
    "logs": lambda data: _has(data, worker_id=str, logs=list),
    "exception": lambda data: _has(data, msg=str, traceback=str),
    "quit": lambda data: data is None,
}


def _has(data: Any, **fields: Any) -> bool:
    return isinstance(data, dict) and all(isinstance(data.get(k), t) for k, t in fields.items())


def parse_message(frames: list[bytes]) -> Message | None:
    """
    Read one message from a worker.

    Args:
        frames: The sender's identity as ZeroMQ routed it, and the payload.

    Returns:
        None for anything but a message that a worker of ours would send in its own name.
    """
    if len(frames) != 2 or len(frames[1]) > MAX_MESSAGE_BYTES:
        return None
    try:
        sender = frames[0].decode("utf-8")
        content = msgpack.unpackb(frames[1], raw=False, strict_map_key=False, object_hook=decode)
    except Exception:  # msgpack raises a dozen kinds, Locust's hook any: none may stop us
        return None
    if not isinstance(content, list) or len(content) != 3:
        return None
    kind, data, node_id = content
    if not isinstance(kind, str) or node_id != sender or not 0 < len(sender) <= _MAX_ID_LENGTH:
        return None  # a worker speaks for itself alone: no evicting of others
    fits = _LOCUST_SHAPES.get(kind)
    known = fits(data) if fits else kind in TO_COORDINATOR and isinstance(data, dict)
    return Message(kind, data, node_id) if known else None  # type: ignore[no-untyped-call]


class SecureServer(BaseSocket):
    """
    The coordinator's side: a ROUTER that only holders of the client key reach.

    Args:
        host: Address to bind, ``*`` for all.
        port: Port to bind.
        keys: The server's keys.
    """

    def __init__(self, host: str, port: int, keys: CurveKeys) -> None:
        super().__init__(zmq.ROUTER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
        self.port = port
        self.refused = 0
        self._zap = _Gatekeeper(self.socket.context, keys.client_public)
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        self.socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
        # a worker that reconnects after a broken link takes over from its own half-open past
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.LINGER, 0)
        _keep_alive(self.socket)
        try:
            self.socket.bind(f"tcp://{host}:{port}")
        except ZMQError as error:
            raise RPCError(f"Socket bind failure: {error}") from error

    def recv_from_client(self) -> tuple[str, Message]:
        """Return sender and message of the next message that makes sense; never raises for one."""
        while True:
            try:
                frames = self.socket.recv_multipart()
            except ZMQError as error:
                raise RPCError("ZMQ network broken") from error
            message = parse_message(frames)
            if message is not None:
                return message.node_id, message
            self.refused += 1
            if (
                self.refused & (self.refused - 1) == 0
            ):  # 1, 2, 4, 8 ...: a flood cannot fill the log
                logger.warning("dropped malformed messages: %d so far", self.refused)

    def send_to_client(self, msg: Message) -> None:
        """Send without ever waiting: ZeroMQ drops what is for a peer that is gone."""
        try:
            self.socket.send_multipart([msg.node_id.encode(), _serialized(msg)], zmq.NOBLOCK)
        except ZMQError as error:
            logger.debug("message %s to %s dropped: %s", msg.type, msg.node_id, error)

    def close(self, linger: int | None = None) -> None:
        """Close the socket and end the gatekeeper."""
        self._zap.close()
        self.socket.close(linger=linger)


class SecureClient(BaseSocket):
    """
    A worker's side: a DEALER that talks to the holder of the server key and nobody else.

    Args:
        host: Coordinator's host.
        port: Its port.
        identity: This worker's id.
        keys: The client's keys.
        on_refused: Called when the other side does not take them.
    """

    def __init__(
        self,
        host: str,
        port: int,
        identity: str,
        keys: CurveKeys,
        on_refused: Callable[[], object] = bool,
    ) -> None:
        super().__init__(zmq.DEALER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        self.socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        self.socket.setsockopt(zmq.LINGER, 0)
        _keep_alive(self.socket)
        monitor = self.socket.get_monitor_socket(_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        gevent.spawn(_watch_handshakes, monitor, partial(_greets, host, port), on_refused)
        self.socket.connect(f"tcp://{host}:{port}")

    def send(self, msg: Message) -> None:
        """Send without waiting; what does not fit is dropped and, where it matters, sent again."""
        try:
            self.socket.send(_serialized(msg), zmq.NOBLOCK)
        except ZMQError as error:
            logger.debug("message %s dropped: %s", msg.type, error)


def _watch_handshakes(
    monitor: Any, greets: Callable[[], bool], on_refused: Callable[[], object]
) -> None:
    """
    Tell of keys that are not taken: of a wrong one of the client's at once, since the server says
    so; of a wrong one of the server's when it has hung up again and again, since it says nothing.

    A proxy in front of a coordinator that is not up yet takes connections and hangs up as well; it
    does not greet.
    """
    in_a_row = 0
    while True:
        try:
            event = int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
        except ZMQError:  # the connection is closed
            return
        in_a_row = 0 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else in_a_row + 1
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            on_refused()
        elif in_a_row >= _REFUSALS:
            in_a_row = 0
            if greets():
                on_refused()


def _greets(host: str, port: int) -> bool:
    """Tell whether ZeroMQ is what answers at an address."""
    try:
        with socket.create_connection((host, port), timeout=_GREETS_WITHIN_S) as connection:
            return bool(connection.recv(1) == _GREETING)
    except OSError:
        return False


class _Gatekeeper:
    """ZAP handler: admits connections that prove the one allowed client key."""

    def __init__(self, context: Any, client_public: str) -> None:
        self._refused = 0
        self._allowed = z85.decode(client_public)
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP_ADDRESS)
        self._greenlet = gevent.spawn(self._serve)

    def _serve(self) -> None:
        while not self._socket.closed:
            # version, request id, domain, address, identity, mechanism, credentials...
            frames = self._socket.recv_multipart()
            request_id = frames[1] if len(frames) > 1 else b""
            key = frames[6] if len(frames) == 7 and frames[5] == b"CURVE" else b""
            admitted = hmac.compare_digest(key, self._allowed)
            if not admitted:
                self._refused += 1
                if self._refused & (self._refused - 1) == 0:
                    logger.warning("refused workers with another key: %d so far", self._refused)
            status = (b"200", b"OK") if admitted else (b"400", b"unknown key")
            self._socket.send_multipart([b"1.0", request_id, *status, b"", b""])

    def close(self) -> None:
        self._greenlet.kill()
        self._socket.close(linger=0)


def _serialized(message: Message) -> bytes:
    data: bytes = msgpack.packb((message.type, message.data, message.node_id), default=encode)
    return data


def _keep_alive(socket: Any) -> None:
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)


class _Transport:
    """Stands where Locust's runners look for their ``rpc`` module."""

    def __init__(self, keys: CurveKeys, on_refused: Callable[[], object]) -> None:
        self._keys = keys
        self._on_refused = on_refused

    def Server(self, host: str, port: int) -> SecureServer:  # noqa: N802 - Locust's name
        return SecureServer(host, port, self._keys)

    def Client(self, host: str, port: int, identity: str) -> SecureClient:  # noqa: N802
        return SecureClient(host, port, identity, self._keys, self._on_refused)


def secure_locust(keys: CurveKeys, on_refused: Callable[[], object] = bool) -> None:
    """
    Make every runner that Locust creates in this process use the secure connection.

    Args:
        keys: Of this side.
        on_refused: Called when a coordinator does not take a worker's keys.

    Raises:
        EngineError: The ZeroMQ library was built without CURVE.
    """
    if not zmq.has("curve"):
        raise EngineError("the ZeroMQ library has no CURVE; install pyzmq's own wheel")
    vars(runners)["rpc"] = _Transport(keys, on_refused)


def shield(runner: runners.MasterRunner) -> None:
    """
    Keep a coordinator's listener alive whatever a message's handler does.

    Locust's handlers trust the content of messages; an exception in one would end the listener and
    with it the run.
    """
    handle = runner.handle_message

    def handle_message(client_id: str, msg: Message) -> None:
        try:
            handle(client_id, msg)
        except Exception:
            logger.exception("message %r of worker %s could not be handled", msg.type, client_id)

    runner.handle_message = handle_message  # type: ignore[method-assign]
