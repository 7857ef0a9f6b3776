"""Where a response begins and ends, told from byte lists; no socket anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.engine.client.apart import take_apart
from loadtest.engine.client.parser import FramingError, ResponseFramer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def framed(*pieces: bytes, bodiless: bool = False) -> ResponseFramer:
    framer = ResponseFramer()
    framer.start(bodiless=bodiless)
    for piece in pieces:
        framer.feed(piece)
    return framer


@pytest.mark.parametrize(
    ("answer", "status", "keep_alive"),
    [
        pytest.param(OK, 200, True, id="sized body"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, True, id="204 has no body"),
        pytest.param(
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            304,
            True,
            id="304 has no body whatever its length says",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
            True,
            id="chunked body",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nok\r\n0\r\nA: b\r\n\r\n",
            200,
            True,
            id="chunk extension and trailer",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            200,
            False,
            id="told to close",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, False, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
            200,
            True,
            id="interim responses are passed over",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n", 200, True, id="empty value"
        ),
    ],
)
def test_an_answer_ends_where_http_says(answer: bytes, status: int, keep_alive: bool) -> None:
    """However the bytes are cut: in one piece, or one at a time, done exactly at the last byte."""
    whole = framed(answer)
    assert (whole.done, whole.status, whole.keep_alive, whole.surplus) == (
        True,
        status,
        keep_alive,
        False,
    )
    drip = ResponseFramer()
    assert [drip.feed(answer[i : i + 1]) for i in range(len(answer))] == [
        *([False] * (len(answer) - 1)),
        True,
    ]
    assert (drip.status, drip.keep_alive, drip.surplus) == (status, keep_alive, False)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"


@pytest.mark.parametrize(
    ("answer", "keep_alive"),
    [
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", True, id="bare LF"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: one\r\n two\r\n\tthree\r\n" + LENGTH + b"\r\nok",
            True,
            id="a header folded over lines (RFC 9112, 5.2)",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + LENGTH + b"X: y\r\ncontent-length:  02 \r\n\r\nok",
            True,
            id="the same length twice (RFC 9110, 8.6)",
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n" + 3 * LENGTH + b"\r\nok",
            True,
            id="the same length thrice, after an interim response",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
            False,
            id="chunks win over a length, and end the connection (RFC 9112, 6.3)",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2  \r\nok\r\n0\r\n\r\n",
            True,
            id="blanks behind a chunk's size",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: caf\xc3\xa9 \x01\r\n" + LENGTH + b"\r\nok",
            True,
            id="odd characters in a value",
        ),
    ],
)
def test_what_others_read_is_read(answer: bytes, keep_alive: bool) -> None:
    """Whole and byte by byte; the next answer on the connection is framed on its own."""
    whole = framed(answer)
    assert (whole.done, whole.status, whole.keep_alive) == (True, 200, keep_alive)
    assert take_apart([answer])[1] == b"ok"
    drip = ResponseFramer()
    assert [drip.feed(answer[i : i + 1]) for i in range(len(answer))][-1]
    assert not drip.surplus
    if keep_alive:
        drip.start(bodiless=False)
        assert drip.feed(OK)
        assert (drip.status, drip.surplus) == (200, False)


@pytest.mark.parametrize("bodiless", [False, True])
def test_a_switch_of_protocols_is_refused_in_every_path(bodiless: bool) -> None:
    """In a head that had to be mended first, and in the answer to a HEAD."""
    head = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n"
    answer = head + (b"" if bodiless else 2 * LENGTH) + b"\r\nabc"
    with pytest.raises(FramingError, match="switched protocols"):
        framed(answer, bodiless=bodiless)


def test_a_blank_before_the_colon_makes_no_length_however_often() -> None:
    """What curl, Go and urllib3 take for a header of another name frames nothing."""
    for _ in range(2):
        framer = framed(b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nok")
        assert (framer.done, framer.end_of_stream(), framer.keep_alive) == (False, True, False)


def test_an_answer_to_head_has_no_body_to_read() -> None:
    assert take_apart([OK], bodiless=True) == ([("Content-Length", "2")], b"")


def test_a_folded_value_is_one_line() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX: one\r\n  two\r\n\tthree\r\nContent-Length: 2\r\n\r\nok"
    for cut in range(len(raw)):
        assert take_apart([raw[:cut], raw[cut:]])[0][0] == ("X", "one two three")


def test_a_head_with_a_body_is_no_error_and_spoils_the_connection() -> None:
    assert framed(OK, bodiless=True).surplus
    assert framed(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", bodiless=True).surplus
    assert not framed(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n", bodiless=True).surplus


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "Expected HTTP/"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status"),
        (b"HTTP/1.1 042 OK\r\nContent-Length: 0\r\n\r\n", "status 42"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "switched protocols"),
        (
            b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
            "switched protocols",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 101, "interim"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "zero byte"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
        (b"HTTP/1.1 200 OK\r\nBad(Header): 1\r\n\r\n", "header"),
    ],
)
def test_what_is_no_answer_is_refused(answer: bytes, why: str) -> None:
    """A response that cannot be framed for certain is an error, and says why."""
    with pytest.raises(FramingError, match=f"(?i){why}"):
        framed(answer)


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\n", OK])
def test_bytes_behind_the_end_spoil_the_connection_not_the_answer(surplus: bytes) -> None:
    """The answer stands; what follows it was not asked for."""
    framer = framed(OK + surplus)
    assert framer.done
    assert framer.status == 200
    assert framer.surplus


def test_the_answer_to_head_ends_with_its_head() -> None:
    """Even where it names a length or is chunked; the next answer starts where it starts."""
    framer = ResponseFramer()
    for head in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    ):
        framer.start(bodiless=True)
        assert framer.feed(head)
        assert (framer.keep_alive, framer.surplus) == (True, False)
        framer.start(bodiless=False)
        assert framer.feed(OK)
        assert framer.keep_alive


@pytest.mark.parametrize(
    ("head", "keep_alive", "surplus"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False, False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", True, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, True),
    ],
)
def test_after_head_the_connection_is_kept_only_if_it_may_be(
    head: bytes, keep_alive: bool, surplus: bool
) -> None:
    """A body behind the answer to HEAD is noticed, and the connection given up."""
    framer = framed(head, bodiless=True)
    assert (framer.done, framer.keep_alive, framer.surplus) == (True, keep_alive, surplus)


def test_a_body_without_a_length_ends_with_the_stream() -> None:
    """And only such a body: a sized or chunked one that stops early is incomplete."""
    framer = framed(b"HTTP/1.1 200 OK\r\n\r\nwhatever")
    assert not framer.done
    assert framer.end_of_stream()
    assert not framer.keep_alive
    assert not framed(OK[:-1]).end_of_stream()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    assert not framed(chunked).end_of_stream()
    assert not framed(b"HTTP/1.1 200 OK\r\nServer: x\r\n").end_of_stream()


def test_begun_tells_which_piece_brought_the_final_head() -> None:
    """The first byte of the final response is what counts, not that of an interim one."""
    framer = ResponseFramer()
    seen = []
    for piece in (b"HTTP/1.1 100 Con", b"tinue\r\n\r\n", OK[:5], OK[5:]):
        framer.feed(piece)
        seen.append(framer.begun)
    assert seen == [1, 1, 2, 2]


def test_headers_that_rows_need_are_noted() -> None:
    """In any case, joined where repeated, not from interim heads and not from trailers."""
    framer = framed(
        b"HTTP/1.1 103 Early Hints\r\nFly-Region: aaa\r\nSet-Cookie: no=1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nfly-region: cdg\r\nSERVER-TIMING: app;dur=1\r\n"
        b"Server-Timing: db;dur=2\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\nFly-Region: zzz\r\n\r\n"
    )
    assert framer.done
    assert framer.region == b"cdg"
    assert framer.timing == b"app;dur=1,db;dur=2"
    assert framer.cookies == [b"a=1", b"b=2"]


def test_take_apart_gives_headers_and_body_of_the_final_answer() -> None:
    """From pieces cut anywhere, with surplus left out."""
    raw = (
        b"HTTP/1.1 100 Continue\r\nX: no\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\n"
        b"Transfer-Encoding: chunked"
        b"\r\n\r\n2\r\nok\r\n3\r\n!!!\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nB: 2\r\n\r\n"
    )
    for cut in range(len(raw)):
        headers, body = take_apart([raw[:cut], raw[cut:]])
        assert headers == [("A", "1"), ("Transfer-Encoding", "chunked")]
        assert body == b"ok!!!"


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
@settings(max_examples=300)
def test_no_bytes_make_the_framer_raise_anything_else(pieces: list[bytes], bodiless: bool) -> None:
    """Noise after a good beginning ends in done, in FramingError, or in more being wanted."""
    framer = ResponseFramer()
    framer.start(bodiless=bodiless)
    try:
        for piece in (b"HTTP/1.1 200 OK\r\n", *pieces):
            framer.feed(piece)
    except FramingError:
        pass
    framer.end_of_stream()
