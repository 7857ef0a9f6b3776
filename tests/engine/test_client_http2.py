"""HTTP/2: streams and frames as bytes, then a real server over TLS and plain TCP."""

from __future__ import annotations

import contextlib
import os
import random
import ssl
from pathlib import Path

import gevent
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
from loadtest.engine.client.http2_stream import Http2Stream
from loadtest.engine.client.tolerant import FramingError

GET = b"GET %s HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n"
BIG_POST = POST.replace(b"POST /", b"POST /big/5000000") % 3 + b"abc"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


OK = b"\x88"  # :status 200 of the static table
HEAD_OF_5 = frame(1, 4, 1, OK + b"\x5c\x015")  # 28 of the table is content-length
WHOLE, END = 4, 1


class Client(Http2Framer):
    """The client's end, with the stream that was asked for last."""

    def __init__(self, head_bytes: int = 65_536) -> None:
        super().__init__(secure=False, head_bytes=head_bytes)
        self.latest = self.stream(b"GET")

    @staticmethod
    def stream(request: bytes, *, held: bool = False) -> Http2Stream:
        return Http2Stream(bodiless=request.startswith(b"HEAD"), keep_bytes=1 << 20, held=held)

    def ask(self, request: bytes, *, held: bool = False) -> Http2Stream:
        self.latest = self.stream(request, held=held)
        self.request(self.latest, request)
        return self.latest

    @property
    def body(self) -> bytes:
        return self.latest.pieces.take_apart()[1]


def framer() -> Client:
    return Client()


def talk(client: Client, server: ServerSide, request: bytes, size: int = 1 << 20) -> Http2Stream:
    """Let both ends talk until the answer is there; the client gets ``size`` bytes a piece."""
    stream = client.ask(request)
    for _ in range(1_000):
        server.receive(client.outgoing())
        data = server.take()
        for begin in range(0, len(data), size):
            client.feed(data[begin : begin + size])
        if stream.done or not data:
            break
    return stream


def test_settings_in_front_of_a_head_are_acknowledged_once() -> None:
    """A second acknowledgement would end the connection."""
    client = framer()
    client.ask(GET % b"/")
    client.outgoing()
    client.feed(frame(4, 0, 0, b"") + frame(1, WHOLE | END, 1, OK))
    assert client.outgoing() == frame(4, 1, 0, b"")


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 1 << 20])
def test_an_answer_is_read_however_it_is_cut(size: int) -> None:
    """Interim heads are passed over, trailers come last, cookies stay apart; a ping is answered."""
    client, server = framer(), ServerSide()
    talk(client, server, GET % b"/early", size)
    assert (client.latest.status, client.latest.region, client.latest.begun) == (200, b"cdg", 2)
    assert client.latest.cookies == [b"a=1", b"b=2"]
    headers, body = client.latest.pieces.take_apart()
    assert body == b"body"
    assert headers[-1] == ("x-check", "sum")
    assert not client.leaving
    talk(client, server, GET % b"/", size)
    assert client.body == b"hello"
    talk(client, server, GET.replace(b"GET", b"HEAD") % b"/", size)
    assert (client.latest.status, client.body) == (200, b"")


def test_the_piece_that_began_the_head_is_told() -> None:
    """The first byte is that of the HEADERS frame, though its end comes with a later piece."""
    client, server = framer(), ServerSide()
    client.ask(GET % b"/")
    server.receive(client.outgoing())
    data = server.take()
    at = next(place for place, kind in frames(data) if kind == 1)
    client.feed(data[: at + 3])
    assert (client.latest.begun, client.split_here) == (0, True)
    client.feed(data[at + 3 : at + 12])
    assert (client.latest.begun, client.split_here) == (0, False)
    client.feed(data[at + 12 :])
    assert (client.latest.begun, client.latest.began_before, client.latest.done) == (1, True, True)


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
    sent = talk(client, server, POST % 3_000_000 + b"y" * 3_000_000)
    assert (server.bodies, sent.status, len(sent.body)) == ([3_000_000], 200, 0)
    big = talk(client, server, GET % b"/big/5000000")
    assert (big.done, big.received > 5_000_000) == (True, True)
    assert sum(map(len, big.pieces)) <= 1 << 20
    talk(client, server, GET % b"/")
    assert client.body == b"hello"


@pytest.mark.parametrize("request_bytes", [GET % b"/", POST % 3 + b"abc"], ids=["quick", "library"])
def test_blanks_around_a_value_are_no_part_of_it(request_bytes: bytes) -> None:
    """As curl, Go and browsers have it; what no header may hold is an error still."""
    client = framer()
    stream = client.ask(request_bytes)
    blank, evil = b"\x00\x01x\x03 1\t", b"\x00\x01x\x031\n2"
    client.feed(frame(4, 0, 0, b"") + frame(1, WHOLE, 1, OK + blank) + frame(1, 5, 1, blank))
    assert (stream.done, stream.failure) == (True, None)
    assert client.latest.pieces.take_apart()[0] == [("x", "1"), ("x", "1")]
    client.ask(request_bytes)
    with pytest.raises(FramingError, match="Illegal character"):
        client.feed(frame(1, WHOLE | END, 3, OK + evil))


def test_a_smaller_window_in_mid_body_is_kept_to() -> None:
    """SETTINGS may change a window while a body is under way (RFC 9113, 6.9.2)."""
    client, server = framer(), ServerSide(_4=1_000, _5=16_384)
    client.feed(server.take())
    stream = client.ask(POST % 5_000 + b"y" * 5_000)
    sent = client.outgoing()
    assert stream.body
    server.receive(sent)
    server.h2.update_settings({4: 100_000})
    for _ in range(10):
        client.feed(server.take())
        server.receive(client.outgoing())
    assert (len(stream.body), server.bodies) == (0, [5_000])


@pytest.mark.parametrize(("path", "unanswered"), [(b"/refuse", True), (b"/reset", False)])
def test_a_reset_stream_is_a_failure_and_the_connection_goes_on(
    path: bytes, unanswered: bool
) -> None:
    """Only a refused stream was not looked at, so only it may be sent again (RFC 9113, 8.7)."""
    client, server = framer(), ServerSide()
    failure = talk(client, server, GET % path).failure
    assert failure is not None
    assert (failure.kind, failure.unanswered) == ("closed-early", unanswered)
    assert not client.leaving
    stream = talk(client, server, GET % b"/")
    assert (stream.failure, stream.status) == (None, 200)


def test_a_farewell_lets_the_stream_finish_or_says_that_it_was_not_taken() -> None:
    """GOAWAY names the last stream that counts: others may be sent elsewhere."""
    client, server = framer(), ServerSide()
    client.ask(GET % b"/bye")
    server.receive(client.outgoing())
    client.feed(server.take())
    assert (client.latest.done, client.latest.failure, client.leaving) == (True, None, True)
    client = framer()
    first, second = client.ask(GET % b"/"), client.ask(GET % b"/")
    client.feed(frame(4, 0, 0, b"") + frame(7, 0, 0, b"\0\0\0\1" + bytes(4)))
    assert (first.done, client.over, client.leaving) == (False, [second], True)
    assert second.failure is not None
    assert second.failure.unanswered
    client.feed(frame(1, WHOLE | END, 1, OK))
    assert (first.done, first.failure, client.streams) == (True, None, {})


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
    client.ask(GET % b"/")
    with pytest.raises(FramingError, match=r"\w"):
        client.feed(data)


def test_a_head_beyond_the_limit_is_too_large() -> None:
    """The limit is that of HTTP/1.1, counted on what HPACK unpacks."""
    client = Client(head_bytes=2_000)
    server = ServerSide()
    server.answer = lambda stream, _: server.h2.send_headers(  # type: ignore[method-assign, assignment]
        stream, [(b":status", b"200"), (b"x-long", b"a" * 3_000)], end_stream=True
    )
    first = client.ask(GET % b"/")  # both share the table that is broken off
    talk(client, server, GET % b"/")
    failures = first.failure, client.latest.failure
    assert [failure and failure.kind for failure in failures] == ["too-large", "closed-early"]


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
    client.ask(GET % b"/big/600000")
    server.receive(client.outgoing())
    late = server.take()
    client.feed(late[:20_000])
    client.cancel(client.latest, doubtful=True)
    assert client.asked_for_life
    client.ask(GET % b"/")
    client.feed(late[20_000:])
    server.receive(client.outgoing())
    for _ in range(3):
        client.feed(server.take())
        server.receive(client.outgoing())
    assert (client.latest.status, client.body) == (200, b"hello")
    assert not client.asked_for_life
    client.ask(POST % 100_000 + b"y" * 100_000)
    client.outgoing()
    client.cancel(client.latest, doubtful=True)
    talk(client, server, GET % b"/early")
    assert client.body == b"body"


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
    client.ask(GET % b"/")
    with pytest.raises(FramingError, match=said):
        client.feed(data)


def test_padding_priority_and_frames_of_no_known_kind_are_passed_over() -> None:
    client = framer()
    client.ask(GET % b"/")
    padded = b"\2" + bytes(5) + OK + b"\0\0"
    head = frame(1, WHOLE | 0x28, 1, padded)
    others = frame(0x77, 0, 1, b"?") + frame(8, 0, 1, b"\0\0\0\1") + frame(2, 0, 1, bytes(5))
    client.feed(head + others + frame(0, END | 8, 1, b"\1hi\0"))
    assert client.over == [client.latest]
    assert (client.latest.status, client.body) == (200, b"hi")


def test_an_answer_before_the_end_of_its_request_stops_the_rest() -> None:
    """Also where the server says so itself, as RFC 9113, 8.1 lets it: others go on."""
    for reset in (b"", frame(3, 0, 1, bytes(4))):
        client, server = framer(), ServerSide()
        client.feed(server.take())
        stream = client.ask(POST % 200_000 + b"y" * 200_000)
        assert len(stream.body) == 200_000 - 65_535
        client.feed(HEAD_OF_5 + frame(0, END, 1, b"hello") + reset)
        assert (client.over, stream.failure, len(stream.body)) == ([stream], None, 0)
        client.feed(frame(8, 0, 1, b"\0\0\1\0"))
        other = client.ask(GET % b"/")
        client.feed(frame(1, WHOLE | END, 3, OK))
        assert (other.done, client.leaving) == (True, False)


def test_streams_at_once_have_their_own_answers_and_moments() -> None:
    """However their frames are mixed; the piece that began each head is told of each."""
    client = framer()
    client.ask(POST % 3 + b"abc")
    client.ask(GET % b"/")
    client.ask(GET % b"/", held=True)
    slow, quick, held = client.streams.values()
    client.feed(HEAD_OF_5.replace(b"\0\0\0\1", b"\0\0\0\3") + frame(1, WHOLE, 5, OK))
    assert (client.begun, client.over) == ([quick, held], [])
    mixed = [
        frame(0, 0, 3, b"he"), frame(0, 0, 5, b"un"), frame(1, WHOLE, 1, OK),
        frame(0, END, 3, b"llo"), frame(0, END, 1, b"post"), frame(0, 0, 5, b"ended"),
    ]  # fmt: skip
    client.feed(b"".join(mixed))
    assert (client.begun, client.over) == ([slow], [quick, slow])
    assert [b"".join(s.pieces) for s in (slow, quick, held)] == [b"post", b"hello", b"unended"]
    client.cancel(held)
    assert (client.streams, client.has_room) == ({}, True)


@pytest.mark.parametrize("request_bytes", [GET % b"/big/5000000", BIG_POST])
def test_a_body_that_nobody_reads_holds_its_server_up_and_no_other(request_bytes: bytes) -> None:
    """The window of a held stream opens when it is read; that of the connection at once."""
    client, server = framer(), ServerSide()
    held = client.ask(request_bytes, held=True)
    for _ in range(50):
        server.receive(client.outgoing())
        client.feed(server.take())
    assert not held.done
    assert sum(map(len, held.pieces)) == 1 << 20
    assert talk(client, server, GET % b"/big/3000000").done
    read = 0
    for _ in range(100):
        read += sum(map(len, held.pieces))
        held.pieces.clear()
        client.catch_up(held)
        server.receive(client.outgoing())
        client.feed(server.take())
    assert (held.done, read) == (True, 5_000_000)


def test_a_server_says_how_many_streams_it_takes_at_once() -> None:
    client, server = framer(), ServerSide(_3=2)
    assert client.has_room
    client.feed(server.take())
    client.ask(GET % b"/")
    assert client.has_room
    client.ask(GET % b"/")
    assert not client.has_room


ASKED = [
    (GET % b"/", GET % b"/early", GET % b"/big/40000"),
    (GET % b"/refuse", POST % 9 + b"123456789", GET.replace(b"GET", b"HEAD") % b"/"),
    (POST % 70_000 + b"y" * 70_000, GET % b"/reset", GET % b"/bye"),
]


def asked_at_once(requests: tuple[bytes, ...]) -> Client:
    client = framer()
    for number, request in enumerate(requests):
        client.ask(request, held=number == 1)
    return client


def answers_to(requests: tuple[bytes, ...]) -> bytes:
    """What a server sends all the way, to a client that reads it."""
    client, server, said = asked_at_once(requests), ServerSide(), b""
    for _ in range(9):
        server.receive(client.outgoing())
        said += (data := server.take())
        client.feed(data)
        if server.over:
            break
    return said


def test_mutated_frames_end_in_answers_or_a_sentence() -> None:
    """Seeded; nothing that a server may send raises anything but FramingError, or hangs."""
    rng = random.Random(20_261_128)
    answers = [answers_to(requests) for requests in ASKED]
    for _ in range(int(os.environ.get("LOADTEST_FUZZ", "400"))):
        kind = rng.randrange(len(ASKED))
        client, data = asked_at_once(ASKED[kind]), bytearray(answers[kind])
        streams = list(client.streams.values())
        for _ in range(rng.randrange(5)):
            at = rng.randrange(min(len(data), 400))
            change = rng.randbytes(rng.choice([0, 1, 1, 1, 4, 9]))
            data[at : at + rng.choice([0, 1, 1, 9])] = change
        step = rng.choice([7, 100, 5_000, 1 << 20])
        with contextlib.suppress(FramingError):
            for begin in range(0, len(data), step):
                client.feed(bytes(data[begin : begin + step]))
                assert len(client.outgoing()) < 100_000
        ended = [stream for stream in streams if stream.done]
        assert {stream.number for stream in ended}.isdisjoint(client.streams)
        assert len(client.end_all("closed-early", "over")) == len(streams) - len(ended)
        assert all(stream.done for stream in streams)


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
    client.ask(GET % path)
    server.receive(client.outgoing())
    answer = bytearray(server.take())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, min(len(answer), 200) - 1))
        answer[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(FramingError):
        client.feed(bytes(answer))
        reference = read_by_the_library(path, bytes(answer))
        if client.latest.done and client.latest.failure is None and reference is not None:
            fields, body = reference  # the library moves cookies to the end
            told = client.latest.pieces
            assert (sorted(told.fields), b"".join(told)) == (sorted(fields), body)


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
def test_a_first_burst_over_tls_opens_one_connection(tls: tuple[str, ssl.SSLContext]) -> None:
    """Before the first answer nobody knows what is spoken: its handshake is waited for."""
    with (
        http2_server(tls[1]) as server,
        client_of(server.url, ca_file=tls[0]) as (client, samples),
    ):
        jobs = [gevent.spawn(client.get, "/") for _ in range(6)]
        assert [job.get(20).text for job in jobs] == ["hello"] * 6
    assert server.connections == 1
    ready = {s.start_ns + s.dns_ns + s.connect_ns + s.tls_ns for s in samples if not s.reused}
    assert len(ready) == 2  # whoever opened it, and those who waited for that


@pytest.mark.contract
def test_a_version_that_the_server_does_not_speak_is_a_failed_request() -> None:
    """Nobody is told of HTTP/2 what was measured over HTTP/1.1."""
    with http2_server() as server, client_of(server.url) as (client, samples):
        client.get("/")
    assert (samples[0].error, samples[0].protocol) != ("", "2")
