"""
Odd answers that servers really give, by name: bytes that several user agents read, or refuse.

``docs/client.md`` shows the table; ``test_client_peers.py`` holds it against the client and its
peers, ``benchmarks/readers.py`` prints it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

_H = b"HTTP/1.1 200 OK\r\n"
_L = b"Content-Length: 2\r\n"
_C = b"Transfer-Encoding: chunked\r\n"
_CHUNKS = b"2\r\nok\r\n0\r\n\r\n"
_OK = _H + _L + b"\r\nok"
_CHUNKED = _H + _C + b"\r\n"


@dataclass(frozen=True)
class Answer:
    """
    One answer.

    ``head``: the request is a HEAD.  ``body``: what it means where it is read.
    """

    raw: bytes
    body: bytes = b"ok"
    head: bool = False


def _headed(line: bytes) -> Answer:
    """An answer of two bytes with a line in its head that is odd."""
    return Answer(_H + line + b"\r\n" + _L + b"\r\nok")


def _first(line: bytes) -> Answer:
    return Answer(line + b"\r\n" + _L + b"\r\nok")


def _sized(value: bytes) -> Answer:
    return Answer(_H + b"Content-Length:" + value + b"\r\n\r\nok")


def _coded(value: bytes, body: bytes = _CHUNKS) -> Answer:
    return Answer(_H + b"Transfer-Encoding:" + value + b"\r\n\r\n" + body)


def _chunks(chunks: bytes, body: bytes = b"ok") -> Answer:
    return Answer(_CHUNKED + chunks, body)


def _after(interim: bytes) -> Answer:
    return Answer(interim + b"\r\n" + _OK)


def _none(head: bytes) -> Answer:
    return Answer(head + b"\r\n", b"")


def _to_head(raw: bytes) -> Answer:
    return Answer(raw, b"", head=True)


ANSWERS: dict[str, Answer] = {
    # the first line
    "no reason": _first(b"HTTP/1.1 200 "),
    "no reason, no blank": _first(b"HTTP/1.1 200"),
    "UTF-8 in the reason": _first(b"HTTP/1.1 200 \xc3\x9cber"),
    "control character in the reason": _first(b"HTTP/1.1 200 a\x01b"),
    "tab in the reason": _first(b"HTTP/1.1 200 a\tb"),
    "two blanks before the status": _first(b"HTTP/1.1  200 OK"),
    "tab before the status": _first(b"HTTP/1.1\t200 OK"),
    "two blanks before the reason": _first(b"HTTP/1.1 200  OK"),
    "tab before the reason": _first(b"HTTP/1.1 200\tOK"),
    "blank before the version": _first(b" HTTP/1.1 200 OK"),
    "an empty line before": Answer(b"\r\n" + _OK),
    "version in lower case": _first(b"http/1.1 200 OK"),
    "HTTP/1.2": _first(b"HTTP/1.2 200 OK"),
    "HTTP/1.9": _first(b"HTTP/1.9 200 OK"),
    "HTTP/1.10": _first(b"HTTP/1.10 200 OK"),
    "HTTP/1": _first(b"HTTP/1 200 OK"),
    "HTTP/0.9 in an HTTP/1 head": _first(b"HTTP/0.9 200 OK"),
    "HTTP/2.0 in an HTTP/1 head": _first(b"HTTP/2.0 200 OK"),
    "HTTP/3.0 in an HTTP/1 head": _first(b"HTTP/3.0 200 OK"),
    "ICY": _first(b"ICY 200 OK"),
    "status 600": _first(b"HTTP/1.1 600 X"),
    "status 999": _first(b"HTTP/1.1 999 Denied"),
    "status 000": _first(b"HTTP/1.1 000 X"),
    "status 42": _first(b"HTTP/1.1 42 X"),
    "status 042": _first(b"HTTP/1.1 042 X"),
    "status 2000": _first(b"HTTP/1.1 2000 OK"),
    "status +200": _first(b"HTTP/1.1 +200 OK"),
    "status 2e2": _first(b"HTTP/1.1 2e2 OK"),
    "no status": _first(b"HTTP/1.1 OK"),
    "no HTTP": Answer(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "HTTP/0.9: a body alone": Answer(b"<html>ok"),
    # header lines
    "folded value": _headed(b"X: one\r\n two\r\n\tthree"),
    "folded first line": _headed(b" two"),
    "folded empty line": _headed(b"X: one\r\n "),
    "folded length": _sized(b"\r\n 2"),
    "folded coding": _coded(b"\r\n chunked"),
    "bare LF": Answer(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "bare LF in chunks": _chunks(b"2\nok\n0\n\n"),
    "LF and CRLF mixed": Answer(b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok"),
    "bare CR in a value": _headed(b"X: a\rb"),
    "bare CR at a line's end": _headed(b"X: a\rY: b"),
    "blank before the colon": _headed(b"X-A : a"),
    "tab before the colon": _headed(b"X-A\t: a"),
    "blank before the colon of a length": Answer(_H + b"Content-Length : 2\r\n\r\nok"),
    "blank before the colon of a coding": Answer(
        _H + b"Transfer-Encoding : chunked\r\n\r\n" + _CHUNKS
    ),
    "blank in a name": _headed(b"X A: a"),
    "brackets in a name": _headed(b"X(A): a"),
    "slash in a name": _headed(b"X/A: a"),
    "UTF-8 in a name": _headed(b"Stra\xc3\x9fe: a"),
    "control character in a name": _headed(b"X\x01A: a"),
    "no name": _headed(b": a"),
    "no colon": _headed(b"Garbage"),
    "no value": _headed(b"X-A:"),
    "no blank after the colon": _headed(b"X-A:a"),
    "Latin-1 in a value": _headed(b"X-City: K\xf6ln"),
    "control character in a value": _headed(b"X: a\x01b"),
    "DEL in a value": _headed(b"X: a\x7fb"),
    "zero byte in a value": _headed(b"X: a\x00b"),
    "zero byte in a name": _headed(b"X\x00: a"),
    "a header of 60 000 bytes": _headed(b"X-Csp: " + b"y" * 60_000),
    "90 headers": _headed(b"".join(b"X-%d: y\r\n" % i for i in range(90))[:-2]),
    "a head of 60 000 bytes": _headed(
        b"".join(b"X-%d: %s\r\n" % (i, b"y" * 600) for i in range(96))[:-2]
    ),
    "a head of 300 000 bytes": _headed(
        b"".join(b"X-%d: %s\r\n" % (i, b"y" * 5990) for i in range(50))[:-2]
    ),
    # lengths
    "the same length twice": Answer(_H + _L + _L + b"\r\nok"),
    "the same length in a list": _sized(b" 2, 2"),
    "the same length spelt differently": Answer(_H + _L + b"Content-Length: 02\r\n\r\nok"),
    "lengths that differ": Answer(_H + _L + b"Content-Length: 3\r\n\r\nok"),
    "lengths that differ in a list": _sized(b" 2, 3"),
    "an empty length beside one": Answer(_H + b"Content-Length:\r\n" + _L + b"\r\nok"),
    "blanks around the length": _sized(b"\t 2 \t"),
    "zeros before the length": _sized(b" 0002"),
    "length +2": _sized(b" +2"),
    "length -1": _sized(b" -1"),
    "length 0x2": _sized(b" 0x2"),
    "length 2.0": _sized(b" 2.0"),
    "length '2 bytes'": _sized(b" 2 bytes"),
    "length in quotes": _sized(b' "2"'),
    "empty length": _sized(b""),
    "length of twenty digits": _sized(b" 99999999999999999999"),
    "length beyond the body": _sized(b" 3"),
    # codings
    "Chunked in capitals": _coded(b" Chunked"),
    "identity": _coded(b" identity", b"ok"),
    "identity beside a length": Answer(_H + b"Transfer-Encoding: identity\r\n" + _L + b"\r\nok"),
    "identity, chunked": _coded(b" identity, chunked"),
    "chunked, identity": _coded(b" chunked, identity"),
    "chunked twice": Answer(_H + _C + _C + b"\r\n" + _CHUNKS),
    "chunked, chunked": _coded(b" chunked, chunked"),
    "chunked with a parameter": _coded(b" chunked;a=b"),
    "xchunked": _coded(b" xchunked", b"ok"),
    "an empty coding": _coded(b"", b"ok"),
    "chunks beside a length": Answer(_H + b"Content-Length: 7\r\n" + _C + b"\r\n" + _CHUNKS),
    "chunks before a length": Answer(_H + _C + b"Content-Length: 7\r\n\r\n" + _CHUNKS),
    "chunks beside two lengths": Answer(
        _H + b"Content-Length: 7\r\nContent-Length: 9\r\n" + _C + b"\r\n" + _CHUNKS
    ),
    "chunks in HTTP/1.0": Answer(b"HTTP/1.0 200 OK\r\n" + _C + b"\r\n" + _CHUNKS),
    # chunks
    "extension": _chunks(b'2;a=b;c="d e"\r\nok\r\n0;z\r\n\r\n'),
    "extension without a name": _chunks(b"2;\r\nok\r\n0;\r\n\r\n"),
    "extension with an open quote": _chunks(b'2;a="b\r\nok\r\n0\r\n\r\n'),
    "extension with odd characters": _chunks(b"2;a=\xff(b)\r\nok\r\n0\r\n\r\n"),
    "two semicolons": _chunks(b"2;;\r\nok\r\n0\r\n\r\n"),
    "blank before the extension": _chunks(b"2 ;a\r\nok\r\n0\r\n\r\n"),
    "blank after the semicolon": _chunks(b"2; a=b\r\nok\r\n0\r\n\r\n"),
    "blanks behind the size": _chunks(b"2  \r\nok\r\n0  \r\n\r\n"),
    "tab behind the size": _chunks(b"2\t\r\nok\r\n0\r\n\r\n"),
    "blank before the size": _chunks(b" 2\r\nok\r\n0\r\n\r\n"),
    "zeros before the size": _chunks(b"0000002\r\nok\r\n00000000\r\n\r\n"),
    "twenty zeros before the size": _chunks(b"0" * 20 + b"2\r\nok\r\n0\r\n\r\n"),
    "sizes in both cases": _chunks(
        b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2
    ),
    "size 0x2": _chunks(b"0x2\r\nok\r\n0\r\n\r\n"),
    "size +2": _chunks(b"+2\r\nok\r\n0\r\n\r\n"),
    "size -2": _chunks(b"-2\r\nok\r\n0\r\n\r\n"),
    "size '2 x'": _chunks(b"2 x\r\nok\r\n0\r\n\r\n"),
    "no size": _chunks(b"\r\nok\r\n0\r\n\r\n"),
    "size beyond 64 bits": _chunks(b"f" * 17 + b"\r\nok\r\n0\r\n\r\n"),
    "no line end behind a chunk": _chunks(b"2\r\nok0\r\n\r\n"),
    "a chunk that is too long": _chunks(b"2\r\nokk\r\n0\r\n\r\n"),
    "LF behind a chunk": _chunks(b"2\r\nok\n0\r\n\r\n"),
    "no line end after the last chunk": _chunks(b"2\r\nok\r\n0\r\n"),
    "no last chunk": _chunks(b"2\r\nok\r\n"),
    "cut within a chunk": _chunks(b"3\r\nok"),
    "trailers": _chunks(b"2\r\nok\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n"),
    "trailer with a length": _chunks(b"2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "trailer with a coding": _chunks(b"2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "trailer that closes": _chunks(b"2\r\nok\r\n0\r\nConnection: close\r\n\r\n"),
    "trailer that is folded": _chunks(b"2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n"),
    "trailer without a colon": _chunks(b"2\r\nok\r\n0\r\nGarbage\r\n\r\n"),
    "trailer with a blank before the colon": _chunks(b"2\r\nok\r\n0\r\nX : a\r\n\r\n"),
    # interim answers
    "100 first": _after(b"HTTP/1.1 100 Continue\r\n"),
    "100 with a length of 0": _after(b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n"),
    "103 with a length": _after(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n"),
    "103 that is chunked": _after(b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n"),
    "102 and 103 first": _after(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
    ),
    "103 with Connection: close": _after(b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n"),
    "100 of HTTP/1.0": _after(b"HTTP/1.0 100 Continue\r\n"),
    "100 with Upgrade": _after(b"HTTP/1.1 100 Continue\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"),
    "100 with a folded value": _after(b"HTTP/1.1 100 Continue\r\nX: a\r\n b\r\n"),
    "100 with a blank before the colon": _after(b"HTTP/1.1 100 Continue\r\nX : a\r\n"),
    "199 first": _after(b"HTTP/1.1 199 Misc\r\n"),
    "101 unasked": _after(b"HTTP/1.1 101 Switching\r\n"),
    "101 with Upgrade": Answer(
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nok"
    ),
    # answers without a body
    "204": _none(b"HTTP/1.1 204 No Content\r\n"),
    "204 with a length": _none(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n"),
    "204 with a length twice": _none(b"HTTP/1.1 204 No Content\r\n" + _L + _L),
    "204 that is chunked": _none(b"HTTP/1.1 204 No Content\r\n" + _C),
    "204 with chunks": Answer(b"HTTP/1.1 204 No Content\r\n" + _C + b"\r\n0\r\n\r\n", b""),
    "204 with a body": Answer(b"HTTP/1.1 204 No Content\r\n" + _L + b"\r\nok", b""),
    "205 with a length of 0": _none(b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n"),
    "304 with a length": _none(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n"),
    "304 that is chunked": _none(b"HTTP/1.1 304 Not Modified\r\n" + _C),
    "304 with a body": Answer(b"HTTP/1.1 304 Not Modified\r\n" + _L + b"\r\nok", b""),
    "HEAD with a length": _to_head(_H + b"Content-Length: 99\r\n\r\n"),
    "HEAD with a length twice": _to_head(_H + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n"),
    "HEAD with lengths that differ": _to_head(
        _H + b"Content-Length: 9\r\nContent-Length: 8\r\n\r\n"
    ),
    "HEAD that is chunked": _to_head(_CHUNKED),
    "HEAD with a length and chunked": _to_head(_H + _L + _C + b"\r\n"),
    "HEAD without a length": _to_head(_H + b"\r\n"),
    "HEAD after 103": _to_head(b"HTTP/1.1 103 Early Hints\r\n\r\n" + _H + _L + b"\r\n"),
    "HEAD with a blank before the colon": _to_head(_H + b"X : a\r\n\r\n"),
    "HEAD with two blanks before the status": _to_head(b"HTTP/1.1  200 OK\r\n\r\n"),
    "HEAD with a body": _to_head(_OK),
    "HEAD with chunks": _to_head(_CHUNKED + _CHUNKS),
    # the connection
    "Upgrade offered": _headed(b"Upgrade: h2,h2c\r\nConnection: Upgrade"),
    "Upgrade offered, Keep-Alive": _headed(b"Upgrade: h2\r\nConnection: Upgrade, Keep-Alive"),
    "426 with Upgrade": _first(
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.3\r\nConnection: Upgrade"
    ),
    "HTTP/1.0 to the end": Answer(b"HTTP/1.0 200 OK\r\n\r\nok"),
    "HTTP/1.0 kept alive": _first(b"HTTP/1.0 200 OK\r\nConnection: keep-alive"),
    "HTTP/1.1 to the end": Answer(_H + b"\r\nok"),
    "close to the end": Answer(_H + b"Connection: close\r\n\r\nok"),
    "Connection: Close, and more": _headed(b"Connection: foo,Close"),
    "close and keep-alive": _headed(b"Connection: close, keep-alive"),
    "Proxy-Connection": _headed(b"Proxy-Connection: keep-alive"),
    "a line end behind the body": Answer(_OK + b"\r\n"),
    "a second answer behind the body": Answer(_OK + _OK),
    "nothing": Answer(b""),
    "cut in the first line": Answer(b"HTTP/1.1 20"),
    "cut in the head": Answer(_H + b"X: y"),
    "cut before the blank line": Answer(_H + _L),
    "cut in the body": Answer(_OK[:-1]),
}
"""By what is odd about them."""
