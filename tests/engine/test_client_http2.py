"""HTTP/2: streams and frames as bytes, then a real server over TLS and plain TCP."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
import trustme
from client_servers import client_of
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hpack import Decoder, Encoder
from http2_server import Http2Server, ServerSide, http2_server
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.engine.client.http2 import Http2Framer
from loadtest.engine.client.http2_heads import HeadPacker, HeadReader, fields_of
from loadtest.engine.client.tolerant import FramingError

GET = b"GET %s HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


OK = b"\x88"  # :status 200 of the static table
HEAD_OF_5 = frame(1, 4, 1, OK + b"\x5c\x015")  # 28 of the table is content-length
WHOLE, END = 4, 1


def framer() -> Http2Framer:
    return Http2Framer(secure=False, head_bytes=65_536, keep_bytes=1 << 20)


def talk(client: Http2Framer, server: ServerSide, request: bytes, size: int = 1 << 20) -> None:
    """Let both ends talk until the answer is there; the client gets ``size`` bytes a piece."""
    client.start(bodiless=request.startswith(b"HEAD"))
    client.request(request)
    for _ in range(1_000):
        server.receive(client.outgoing())
        data = server.take()
        for begin in range(0, len(data), size):
            client.feed(data[begin : begin + size])
        if client.done or not data:
            return


def test_settings_in_front_of_a_head_are_acknowledged_once() -> None:
    """A second acknowledgement would end the connection."""
    client = framer()
    client.request(GET % b"/")
    client.outgoing()
    client.feed(frame(4, 0, 0, b"") + frame(1, WHOLE | END, 1, OK))
    assert client.outgoing() == frame(4, 1, 0, b"")


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 1 << 20])
def test_an_answer_is_read_however_it_is_cut(size: int) -> None:
    """Interim heads are passed over, trailers come last, cookies stay apart; a ping is answered."""
    client, server = framer(), ServerSide()
    talk(client, server, GET % b"/early", size)
    assert (client.status, client.region, client.begun) == (200, b"cdg", 2)
    assert client.cookies == [b"a=1", b"b=2"]
    headers, body = client.pieces.take_apart()
    assert body == b"body"
    assert headers[-1] == ("x-check", "sum")
    assert client.keep_alive
    talk(client, server, GET % b"/", size)
    assert client.pieces.take_apart()[1] == b"hello"
    talk(client, server, GET.replace(b"GET", b"HEAD") % b"/", size)
    assert (client.status, client.pieces.take_apart()[1]) == (200, b"")


def test_the_piece_that_began_the_head_is_told() -> None:
    """The first byte is that of the HEADERS frame, though its end comes with a later piece."""
    client, server = framer(), ServerSide()
    client.request(GET % b"/")
    server.receive(client.outgoing())
    data = server.take()
    at = next(place for place, kind in frames(data) if kind == 1)
    client.feed(data[: at + 3])
    assert (client.begun, client.split_here) == (0, True)
    client.feed(data[at + 3 : at + 12])
    assert (client.begun, client.split_here) == (0, False)
    client.feed(data[at + 12 :])
    assert (client.begun, client.began_before, client.done) == (1, True, True)


def frames(data: bytes) -> list[tuple[int, int]]:
    """Where each frame begins, and its type."""
    found, at = [], 0
    while at < len(data):
        found.append((at, data[at + 3]))
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return found


def test_bodies_keep_to_the_windows_of_both_sides() -> None:
    """Three megabytes go up and five come down, a window at a time; memory stays bounded."""
    client, server = framer(), ServerSide()
    talk(client, server, POST % 3_000_000 + b"y" * 3_000_000)
    assert (server.bodies, client.status, client.handed_over) == ([3_000_000], 200, True)
    talk(client, server, GET % b"/big/5000000")
    assert (client.done, client.received > 5_000_000) == (True, True)
    assert sum(map(len, client.pieces)) <= 1 << 20
    talk(client, server, GET % b"/")
    assert client.pieces.take_apart()[1] == b"hello"


def test_a_smaller_window_in_mid_body_is_kept_to() -> None:
    """SETTINGS may change a window while a body is under way (RFC 9113, 6.9.2)."""
    client, server = framer(), ServerSide(_4=1_000, _5=16_384)
    client.feed(server.take())
    client.start(bodiless=False)
    client.request(POST % 5_000 + b"y" * 5_000)
    sent = client.outgoing()
    assert not client.handed_over
    server.receive(sent)
    server.h2.update_settings({4: 100_000})
    for _ in range(10):
        client.feed(server.take())
        server.receive(client.outgoing())
    assert (client.handed_over, server.bodies) == (True, [5_000])


@pytest.mark.parametrize(
    ("path", "unanswered", "stays"), [(b"/refuse", True, True), (b"/reset", False, True)]
)
def test_a_reset_stream_is_a_failure_and_the_connection_goes_on(
    path: bytes, unanswered: bool, stays: bool
) -> None:
    """Only a refused stream was not looked at, so only it may be sent again (RFC 9113, 8.7)."""
    client, server = framer(), ServerSide()
    talk(client, server, GET % path)
    assert client.failure is not None
    assert (client.failure.kind, client.failure.unanswered) == ("closed-early", unanswered)
    assert client.keep_alive is stays
    talk(client, server, GET % b"/")
    assert client.failure is None
    assert client.status == 200


def test_a_farewell_lets_the_stream_finish_or_says_that_it_was_not_taken() -> None:
    """GOAWAY names the last stream that counts: others may be sent elsewhere."""
    client, server = framer(), ServerSide()
    client.request(GET % b"/bye")
    server.receive(client.outgoing())
    client.feed(server.take())
    assert (client.done, client.failure, client.keep_alive) == (True, None, False)
    client = framer()
    client.request(GET % b"/")
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)
    assert client.feed(b"\0\0\0\x04\0\0\0\0\0" + goaway)
    assert client.failure is not None
    assert (client.failure.unanswered, client.leaving) == (True, True)


def test_what_only_one_connection_means_stays_out_of_a_request() -> None:
    """Host becomes :authority; connection-specific fields are left out (RFC 9113, 8.2.2)."""
    head = b"PUT /a?b HTTP/1.1\r\nHost: h:8\r\nConnection: close\r\nTE: gzip\r\nX-A: b: c"
    assert fields_of(head, b"https") == [
        (b":method", b"PUT"), (b":authority", b"h:8"), (b":scheme", b"https"), (b":path", b"/a?b"),
        (b"x-a", b"b: c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\0\0\1\0\0\0\0\0\1x",
        b"\0\0\0\1\5\0\0\0\1",
        b"\xff\xff\xff\0\0\0\0\0\1",
        b"\0\0\5\4\0\0\0\0\0abcde",
        b"\0\0\2\7\0\0\0\0\0ab",
    ],
    ids=["HTTP/1.1", "data before a head", "an empty head", "too long", "settings", "goaway"],
)
def test_what_is_no_http2_is_said_in_a_sentence(data: bytes) -> None:
    """A server that speaks something else, or breaks a rule, is a failed request."""
    client = framer()
    client.request(GET % b"/")
    with pytest.raises(FramingError, match=r"\w"):
        client.feed(data)


def test_a_head_beyond_the_limit_is_too_large() -> None:
    """The limit is that of HTTP/1.1, counted on what HPACK unpacks."""
    client = Http2Framer(secure=False, head_bytes=2_000, keep_bytes=100)
    server = ServerSide()
    server.answer = lambda stream, _: server.h2.send_headers(  # type: ignore[method-assign, assignment]
        stream, [(b":status", b"200"), (b"x-long", b"a" * 3_000)], end_stream=True
    )
    talk(client, server, GET % b"/")
    assert client.failure is not None
    assert client.failure.kind == "too-large"


FIELDS = st.tuples(
    st.sampled_from([b"date", b"server", b"x-a", b"x-bee"]),
    st.sampled_from([b"1", b"two", b"x" * 90]),
)


@given(
    heads=st.lists(st.lists(FIELDS, max_size=5), min_size=1, max_size=25),
    sensitive=st.sets(st.sampled_from([b"server", b"x-a"])),
    sizes=st.dictionaries(st.integers(0, 24), st.sampled_from([0, 60, 120, 4096])),
)
def test_heads_that_are_known_mean_what_the_library_reads(
    heads: list[list[tuple[bytes, bytes]]], sensitive: set[bytes], sizes: dict[int, int]
) -> None:
    """Whatever a server puts into its table, and however small it makes it."""
    encoder, reader, reference = Encoder(), HeadReader(Decoder()), Decoder()
    for number, fields in enumerate(heads):
        if number in sizes:
            encoder.header_table_size = sizes[number]
        for _ in range(2):  # the second time nothing new is put into the table
            whole = [(b":status", b"200", False)]
            block = encoder.encode([*whole, *((n, v, n in sensitive) for n, v in fields)])
            assert reader.read(block).fields == reference.decode(block, raw=True)


def test_a_request_is_the_same_block_every_time() -> None:
    """Nothing goes into the server's table, so that the library's own blocks stay right as well."""
    heads, server = HeadPacker(b"https"), Decoder()
    head = b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: a=1"
    first, second = heads.block(head), heads.block(head)
    assert first is second
    assert server.decode(first, raw=True) == fields_of(head, b"https")
    assert not server.header_table.dynamic_entries


def test_a_stream_that_is_given_up_leaves_the_connection_as_it_was() -> None:
    """Its answer comes all the same: read for the table's sake, counted for the window's."""
    client, server = framer(), ServerSide()
    client.request(GET % b"/big/600000")
    server.receive(client.outgoing())
    late = server.take()
    client.feed(late[:20_000])
    client.cancel()
    assert client.asked_for_life
    client.start(bodiless=False)
    client.request(GET % b"/")
    client.feed(late[20_000:])
    server.receive(client.outgoing())
    for _ in range(3):
        client.feed(server.take())
        server.receive(client.outgoing())
    assert (client.status, client.pieces.take_apart()[1]) == (200, b"hello")
    assert not client.asked_for_life
    client.start(bodiless=False)
    client.request(POST % 100_000 + b"y" * 100_000)
    client.outgoing()
    client.cancel()
    talk(client, server, GET % b"/early")
    assert client.pieces.take_apart()[1] == b"body"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (HEAD_OF_5 + frame(0, END, 1, b"hi"), "3 bytes less"),
        (HEAD_OF_5 + frame(0, END, 1, b"123456"), "more of a body"),
        (HEAD_OF_5 + frame(1, WHOLE, 1, OK), "trailers that do not end"),
        (frame(1, 0, 1, OK) + frame(4, 0, 0, b""), "in the midst of a head"),
        (frame(1, 0, 1, OK) + frame(0, END, 1, b"x"), "in the midst of a head"),
        (frame(1, WHOLE, 3, OK), "stream 3, which nobody has begun"),
        (frame(1, WHOLE, 2, OK), "stream 2, which nobody has begun"),
        (frame(9, WHOLE, 1, OK), "CONTINUATION frame of nothing"),
        (frame(3, 0, 1, b"abc"), "RST_STREAM frame that is none"),
        (frame(0, 0, 1, b"ab"), "body before its head"),
        (HEAD_OF_5 + frame(0, 8, 1, b"\x09a"), "padding beyond"),
        (frame(5, WHOLE, 1, b"abcde"), "type 5 on a stream"),
        (frame(1, WHOLE | END, 1, b"\x08\x03103"), "interim answer that ends"),
    ],
)
def test_what_a_stream_may_not_do_is_said(data: bytes, said: str) -> None:
    """Bodies keep to their length, heads to one piece, streams to their numbers."""
    client = framer()
    client.request(GET % b"/")
    with pytest.raises(FramingError, match=said):
        client.feed(data)


def test_padding_priority_and_frames_of_no_known_kind_are_passed_over() -> None:
    client = framer()
    client.request(GET % b"/")
    padded = b"\2" + bytes(5) + OK + b"\0\0"
    head = frame(1, WHOLE | 0x28, 1, padded)
    others = frame(0x77, 0, 1, b"?") + frame(8, 0, 1, b"\0\0\0\1") + frame(2, 0, 1, bytes(5))
    assert client.feed(head + others + frame(0, END | 8, 1, b"\1hi\0"))
    assert (client.status, client.pieces.take_apart()[1]) == (200, b"hi")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_frames_end_in_an_answer_or_a_sentence(data: st.DataObject) -> None:
    """Nothing that a server may send raises anything but FramingError."""
    client, server = framer(), ServerSide()
    path = data.draw(st.sampled_from([b"/", b"/early", b"/refuse", b"/reset", b"/big/40000"]))
    client.request(GET % path)
    server.receive(client.outgoing())
    answer = bytearray(server.take())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(answer), 200) - 1))
        answer[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FramingError):
        for begin in range(0, len(answer), 1_000):
            client.feed(bytes(answer[begin : begin + 1_000]))
            client.outgoing()


def read_by_the_library(
    path: bytes, answer: bytes
) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
    """Fields and body of an answer as `h2` reads all of it; None for no answer, or a fault."""
    reader = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    reader.initiate_connection()
    reader.increment_flow_control_window(1 << 20)
    asked = [(b":method", b"GET"), (b":authority", b"h"), (b":scheme", b"http"), (b":path", path)]
    reader.send_headers(1, asked, end_stream=True)
    fields, body = [], b""
    with contextlib.suppress(ProtocolError):
        for event in reader.receive_data(answer):
            if isinstance(event, events.ResponseReceived | events.TrailersReceived):
                fields += [(name, value) for name, value in event.headers]
            elif isinstance(event, events.DataReceived):
                body += event.data
            elif isinstance(event, events.StreamEnded):
                return fields, body
    return None


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_is_read_is_what_the_library_reads(data: st.DataObject) -> None:
    """Of frames that were bent; each may refuse what the other takes, none reads it otherwise."""
    path = data.draw(st.sampled_from([b"/", b"/early", b"/big/4000"]))
    client, server = framer(), ServerSide()
    client.request(GET % path)
    server.receive(client.outgoing())
    answer = bytearray(server.take())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, min(len(answer), 200) - 1))
        answer[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(FramingError):
        client.feed(bytes(answer))
        reference = read_by_the_library(path, bytes(answer))
        if client.done and client.failure is None and reference is not None:
            fields, body = reference  # the library moves cookies to the end
            assert (sorted(client.pieces.fields), b"".join(client.pieces)) == (sorted(fields), body)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    folder: Path = tmp_path_factory.mktemp("ca")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return str(folder / "ca.pem"), context


def check(server: Http2Server, http: str, ca_file: str = "") -> None:
    with client_of(server.url, http=http, ca_file=ca_file) as (client, samples):
        assert client.get("/").text == "hello"
        answer = client.get("/early")
        assert (answer.text, answer.headers["X-Check"]) == ("body", "sum")
        assert len(client.get("/big/900000").content) == 900_000
        assert client.post("/", data=b"z" * 300_000).text == "hello"
        assert client.get("/refuse").error == "closed-early"
        assert client.get("/bye").ok
        assert client.get("/").headers["x-odd"] == "\xe9"
    assert {s.protocol for s in samples} == {"2"}
    assert [s.reused for s in samples] == [False, True, True, True, False, True, False]
    assert [s.attempts for s in samples] == [1, 1, 1, 1, 2, 1, 1]
    assert all(s.wait_ns > 0 for s in samples)
    assert server.bodies[3] == 300_000
    assert server.seen[2][b"cookie"] == b"a=1; b=2"
    assert server.connections == 3


@pytest.mark.contract
def test_plain_by_prior_knowledge() -> None:
    """``http = "2"`` needs no TLS; one user's streams share a connection."""
    with http2_server() as server:
        check(server, "2")


@pytest.mark.contract
def test_tls_by_alpn(tls: tuple[str, ssl.SSLContext]) -> None:
    """Whoever leaves it to the server gets HTTP/2 from one that prefers it."""
    with http2_server(tls[1]) as server:
        check(server, "auto", tls[0])


@pytest.mark.contract
def test_a_version_that_the_server_does_not_speak_is_a_failed_request() -> None:
    """Nobody is told of HTTP/2 what was measured over HTTP/1.1."""
    with http2_server() as server, client_of(server.url) as (client, samples):
        client.get("/")
    assert (samples[0].error, samples[0].protocol) != ("", "2")
