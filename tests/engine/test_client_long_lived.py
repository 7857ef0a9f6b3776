"""WebSockets and server-sent events: what comes when, which rows there are, and what goes wrong."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from client_servers import ScriptServer, client_of
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.server_events import EventReader, ServerEvent
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.client.websocket import WebSocketFramer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"


def read(*pieces: bytes) -> list[ServerEvent]:
    reader = EventReader(10_000)
    return [event for piece in pieces for event in reader.feed(piece)]


class TestEventFormat:
    """As browsers read it (WHATWG HTML, 9.2.6)."""

    @pytest.mark.parametrize(
        ("text", "events"),
        [
            (b"data: a\n\n", [ServerEvent("a")]),
            (b"\xef\xbb\xbfdata:a\r\n\r\n", [ServerEvent("a")]),
            (b"data: a\rdata:  b\r\r", [ServerEvent("a\n b")]),
            (b": hush\n\nevent: x\nid: 7\ndata: a\n\ndata: b\n\n",
             [ServerEvent("a", "x", "7"), ServerEvent("b", "message", "7")]),
            (b"event: x\n\ndata\n\n", [ServerEvent("")]),
            (b"retry: 10\nunknown: y\ndata: {}\n\n", [ServerEvent("{}")]),
            (b"data: cut off\n", []),
        ],
    )  # fmt: skip
    def test_fields_lines_and_blanks(self, text: bytes, events: list[ServerEvent]) -> None:
        assert read(text) == events

    @given(
        text=st.lists(
            st.sampled_from([b"data: a", b"data:b", b"event: e", b":", b"\n", b"\r\n", b"\r"])
        ).map(b"".join),
        cuts=st.lists(st.integers(0, 60)),
    )  # fmt: skip
    def test_how_it_is_cut_changes_nothing(self, text: bytes, cuts: list[int]) -> None:
        places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        pieces = [text[a:b] for a, b in itertools.pairwise(places)]
        assert read(*pieces, b"\n\n") == read(text + b"\n\n")

    def test_an_event_without_end_is_refused(self) -> None:
        with pytest.raises(FramingError, match="more than 10000 bytes"):
            read(b"data: ", b"x" * 20_000)


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_websocket_end_in_a_sentence(data: bytes) -> None:
    framer = WebSocketFramer("h", "/", [], [], 1_000)
    accept = WSConnection(ConnectionType.SERVER)
    accept.receive_data(framer.hello)
    list(accept.events())
    framer.start(bodiless=False)
    assert framer.feed(accept.send(ws.AcceptConnection()))
    framer.start(bodiless=False)
    with contextlib.suppress(FramingError):
        framer.feed(data)


Talk = Callable[[socket.socket, WSConnection, str | bytes], None]


def websocket_server(
    talk: Talk, hello: ws.Event | None = None, tls: ssl.SSLContext | None = None
) -> ScriptServer:
    """A server that accepts, or answers ``hello``, and hands every message to ``talk``."""

    def handle(sock: socket.socket, _index: int) -> None:
        server = WSConnection(ConnectionType.SERVER)
        while data := sock.recv(65_536):
            server.receive_data(data)
            for event in server.events():
                if isinstance(event, ws.Request):
                    answer = hello or ws.AcceptConnection(
                        extra_headers=[(b"fly-region", b"cdg"), (b"set-cookie", b"a=1")]
                    )
                    sock.sendall(server.send(answer))
                    if isinstance(answer, ws.RejectConnection):
                        return
                elif isinstance(event, ws.Message):
                    talk(sock, server, event.data)
                elif isinstance(event, ws.CloseConnection):
                    if server.state is ConnectionState.REMOTE_CLOSING:
                        sock.sendall(server.send(event.response()))
                    return

    return ScriptServer(handle, tls=tls)


def echo(sock: socket.socket, server: WSConnection, message: str | bytes) -> None:
    if isinstance(message, str):
        sock.sendall(server.send(ws.TextMessage(data=message)))
    else:
        sock.sendall(server.send(ws.BytesMessage(data=message)))


@contextlib.contextmanager
def talking(
    talk: Talk, hello: ws.Event | None = None, **limits: float
) -> Iterator[tuple[TTFBClient, list[RequestSample]]]:
    with websocket_server(talk, hello) as server, client_of(server.url, **limits) as found:
        yield found


def rows(samples: list[RequestSample]) -> list[tuple[str, str, int, str]]:
    return [(s.name, s.method, s.status, s.error) for s in samples]


@pytest.mark.contract
class TestWebSocket:
    def test_opening_and_each_round_trip_are_rows(self) -> None:
        with talking(echo) as (client, samples):
            with client.websocket("/kitchen?x=1") as chat:
                assert (chat.open, chat.status_code, chat.error) == (True, 101, "")
                assert chat.ask("soup") == "soup"
                assert chat.ask(b"\x00salt", name="pinch") == b"\x00salt"
                assert chat.ask("late", name=lambda answer: f"told {answer!r}") == "late"
            assert not chat.open
            assert chat.ask("gone") is None
            assert client.cookies.header(host="127.0.0.1", path="/", secure=False) == "a=1"
        assert rows(samples) == [
            ("/kitchen", "GET", 101, ""),
            ("/kitchen message", "MESSAGE", 101, ""),
            ("pinch", "MESSAGE", 101, ""),
            ("told 'late'", "MESSAGE", 101, ""),
        ]
        assert [s.reused for s in samples] == [False, True, True, True]
        assert all(s.wait_ns > 0 for s in samples)
        assert {(s.served_by, s.protocol) for s in samples} == {("cdg", "1.1")}

    def test_over_tls_it_is_http_1_whatever_the_server_prefers(self, tmp_path: Path) -> None:
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with (
            websocket_server(echo, tls=context) as server,
            client_of(server.url, ca_file=str(tmp_path / "ca.pem"), http="2") as (client, samples),
            client.websocket("/") as chat,
        ):
            assert chat.ask("soup") == "soup"
            assert chat.send("y")
            assert chat.receive() == "y"
        assert [(s.error, s.protocol, s.tls_ns > 0) for s in samples] == [
            ("", "1.1", True), ("", "1.1", False)
        ]  # fmt: skip

    def test_a_message_in_pieces_is_one_and_pings_between_are_answered(self) -> None:
        def slowly(sock: socket.socket, server: WSConnection, _message: str | bytes) -> None:
            parts = [
                server.send(ws.Ping(b"?")),
                server.send(ws.TextMessage(data="so", message_finished=False)),
                server.send(ws.TextMessage(data="up")),
            ]
            for byte in b"".join(parts):
                sock.sendall(bytes([byte]))

        with talking(slowly) as (client, samples), client.websocket("/") as chat:
            assert [chat.ask("x"), chat.ask("y")] == ["soup", "soup"]
        assert all(s.receive_ns >= 0 and not s.error for s in samples)

    def test_what_comes_by_itself_waits_for_whoever_asks_for_it(self) -> None:
        def chatty(sock: socket.socket, server: WSConnection, message: str | bytes) -> None:
            told = [f"{message!s} {n}" for n in range(3)]
            sock.sendall(b"".join(server.send(ws.TextMessage(data=text)) for text in told))

        with talking(chatty) as (client, samples), client.websocket("/") as chat:
            assert chat.ask("a") == "a 0"
            assert [chat.receive(), chat.receive()] == ["a 1", "a 2"]
            assert chat.send("b")
            assert chat.receive() == "b 0"
            assert chat.receive(timeout=0.01) is not None
            assert chat.receive(timeout=0.01) is not None
            assert chat.receive(timeout=0.01) is None
        assert len(samples) == 2

    @pytest.mark.parametrize(
        ("hello", "detail"),
        [
            (ws.RejectConnection(status_code=403, headers=[(b"content-length", b"0")]), "403"),
            (ws.RejectConnection(status_code=200, headers=[(b"content-length", b"0")]), "200"),
            (ws.RejectConnection(status_code=426, headers=[(b"connection", b"close")]), "426"),
        ],
    )
    def test_a_refused_upgrade_is_a_failed_row(self, hello: ws.Event, detail: str) -> None:
        with talking(echo, hello) as (client, samples):
            with client.websocket("/") as chat:
                assert (chat.open, chat.error) == (False, "status")
                assert chat.receive() is None
            assert len(samples) == 1
        assert f"HTTP {detail}, where 101 was wanted" in samples[0].detail

    def test_a_goodbye_and_a_silence_fail_the_message_that_waited(self) -> None:
        def leave(sock: socket.socket, server: WSConnection, message: str | bytes) -> None:
            if message == "bye":
                sock.sendall(server.send(ws.CloseConnection(code=1013, reason="try later")))

        with talking(leave, read_s=0.1) as (client, samples):
            with client.websocket("/") as chat:
                assert chat.ask("bye") is None
                assert not chat.open
            with client.websocket("/") as chat:
                assert chat.ask("silence") is None
        assert [s.error for s in samples] == ["", "closed-early", "", "read-timeout"]
        assert samples[1].detail == "the server said goodbye, 1013: try later"

    def test_a_frame_that_breaks_the_rules_is_no_goodbye(self) -> None:
        def break_rules(sock: socket.socket, _server: WSConnection, message: str | bytes) -> None:
            sock.sendall(b"\x81\x02\xff\xfe" if message == "text" else b"\xc1\x00")

        with talking(break_rules) as (client, samples):
            for message in ("text", "bits"):
                with client.websocket("/") as chat:
                    assert chat.ask(message) is None
                    assert not chat.open
        assert [s.error for s in samples] == ["", "protocol"] * 2
        assert "utf-8" in samples[1].detail
        assert "Reserved bit" in samples[3].detail

    def test_a_url_may_say_ws_and_a_subprotocol_is_a_word(self) -> None:
        with talking(echo) as (client, samples):
            url = client.target_url.replace("http://", "WS://me:pw@")
            with client.websocket(f"{url}/kitchen") as chat:
                assert chat.ask("soup") == "soup"
            with pytest.raises(ValueError, match="subprotocol"):
                client.websocket("/", subprotocols=("a\r\nb: c",))
        assert [s.name for s in samples] == ["/kitchen", "/kitchen message"]

    def test_what_a_user_leaves_open_is_closed_with_the_client(self) -> None:
        with websocket_server(echo) as server:
            with client_of(server.url) as (client, _):
                chat = client.websocket("/")
                assert chat.open
            assert not chat.open


def event_server(*pieces: bytes) -> ScriptServer:
    def handle(sock: socket.socket, _index: int) -> None:
        request = sock.recv(65_536)
        assert b"Accept: text/event-stream\r\n" in request
        for piece in pieces:
            sock.sendall(piece)
        if pieces[-1].endswith(b"\n\n"):
            sock.recv(1)  # until the client leaves

    return ScriptServer(handle)


@pytest.mark.contract
class TestEvents:
    def test_the_answer_and_its_first_event_are_rows(self) -> None:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        pieces = head, b"7\r\ndata: 1\r\n3\r\n\n\nd\r\n", b"9\r\nata: 2\n\n\n\r\n0\r\n\r\n"
        with event_server(*pieces) as server, client_of(server.url) as (client, samples):
            with client.events("/orders?x") as events:
                assert [event.data for event in events] == ["1", "2"]
            assert (events.status_code, events.error) == (200, "")
        assert rows(samples) == [
            ("/orders", "GET", 200, ""), ("/orders first event", "EVENT", 200, "")
        ]  # fmt: skip
        answer, first = samples
        assert 0 < answer.wait_ns <= first.wait_ns
        assert (answer.reused, first.reused, first.cold_ttfb_ns) == (False, True, first.wait_ns)

    def test_events_wait_until_they_come(self) -> None:
        body = b"data: 1\n\ndata: 2\n\n"
        with (
            event_server(HEAD + b"\r\n" + body) as server,
            client_of(server.url) as (client, _),
            client.events("/") as events,
        ):
            assert [events.next(), events.next()] == [ServerEvent("1"), ServerEvent("2")]
            assert events.next(timeout=0.01) is None

    @pytest.mark.parametrize(
        "answer",
        [
            HEAD.replace(b"\r\n", b"\n") + b"\ndata: 1\n\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n9 \r\ndata: 1\n\n\r\n",
            HEAD.replace(b"text", b"\r\n TEXT") + b"\r\ndata: 1\n\n",
            b"HTTP/1.1 103 Early Hints\r\nContent-Type: a/b\r\n\r\n" + HEAD + b"\r\ndata: 1\n\n",
            HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"data: 1\n\n"),
        ],
        ids=["bare LF", "blanks", "a fold", "an early hint", "gzip"],
    )
    def test_odd_answers_are_read_as_any(self, answer: bytes) -> None:
        with (
            event_server(answer) as server,
            client_of(server.url, read_s=5) as (client, samples),
            client.events("/") as events,
        ):
            assert (events.next(), events.error) == (ServerEvent("1"), "")
        assert [s.error for s in samples] == ["", ""]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", [("GET", "status")]),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", [("GET", "protocol")]),
            (HEAD + b"Content-Length: 0\r\n\r\n", [("GET", ""), ("EVENT", "closed-early")]),
            (HEAD + b"\r\n: hush\n\n", [("GET", ""), ("EVENT", "read-timeout")]),
            (b"what?\r\n\r\n", [("GET", "protocol")]),
            (
                HEAD + b"Content-Encoding: gzip\r\n\r\ndata: 1\n\n",
                [("GET", ""), ("EVENT", "protocol")],
            ),
            (
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n: a\r\n",
                [("GET", ""), ("EVENT", "closed-early")],
            ),
        ],
        ids=["404", "no events", "no event", "silence", "no HTTP", "no gzip", "cut off"],
    )
    def test_what_goes_wrong_is_told_of_the_row_it_is_about(
        self, answer: bytes, expected: list[tuple[str, str]]
    ) -> None:
        with (
            event_server(answer) as server,
            client_of(server.url, read_s=0.1) as (client, samples),
            client.events("/") as events,
        ):
            assert (events.next(), events.error) == (None, expected[-1][1])
        assert [(s.method, s.error) for s in samples] == expected
