"""Ten thousand malformed answers: an error sample each, and the next answer is never mis-framed."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.sample import RequestSample
from loadtest.records.kinds import ERROR_KINDS

pytestmark = pytest.mark.contract

MALFORMED = 10_000
MUTATED = 3_000
USERS = 20
CRLF = b"\r\n"


def noise(rng: random.Random, size: int) -> bytes:
    return bytes(rng.randrange(256) for _ in range(size))


def good(rng: random.Random) -> bytes:
    """A well-formed answer whose end the client can see."""
    body = noise(rng, rng.randrange(1, 60))
    fillers = b"".join(b"X-%d: %d\r\n" % (i, rng.randrange(99)) for i in range(rng.randrange(4)))
    if rng.random() < 0.5:
        return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (fillers, len(body), body)
    cut = rng.randrange(len(body)) or len(body)
    pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    head = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % fillers
    return head + chunks + b"0\r\n\r\n"


def bad_status_line(rng: random.Random) -> bytes:
    line = rng.choice(
        [
            b"HTTQ/1.1 200 OK",
            b"HTTP/1.x 200 OK",
            b"HTTP/ 200 OK",
            b"HTTP/1.1  ",
            b"HTTP/1.1 2x0 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 %03d Low" % rng.randrange(100),
            b"HTTP/1.1 -20 OK",
            b"HTTP/1.1 101 Switching Protocols",
            b"200 OK",
            b"\x16\x03\x01" + noise(rng, 8),
            b"<html>" + noise(rng, 8),
            b"\x00" + noise(rng, rng.randrange(20)),
        ]
    )
    return line + b"\r\nContent-Length: 0\r\n\r\n"


def bad_header(rng: random.Random) -> bytes:
    header = rng.choice(
        [
            b"No Colon At All",
            b": no name",
            b"Bad/Name: x",
            b"Bad\x00Name: x",
            b"X: a\x00b",
            b"X: a\rb",
            b"Bad(Name): x",
            b"Content-Length: abc",
            b"Content-Length: -1",
            b"Content-Length: 1 2",
            b"Content-Length: 0x10",
            b"Content-Length: " + b"9" * 40,
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        ]
    )
    before = b"X-%d: y\r\n" % rng.randrange(99) * rng.randrange(3)
    return b"HTTP/1.1 200 OK\r\n%s%s\r\n\r\nabc" % (before, header)


def bad_chunk(rng: random.Random) -> bytes:
    chunk = rng.choice(
        [
            b"zz\r\nab\r\n0\r\n\r\n",
            b"-1\r\nab\r\n0\r\n\r\n",
            b"\r\nab\r\n0\r\n\r\n",
            b"f" * 40 + b"\r\nab\r\n0\r\n\r\n",
            b"2\r\nabX\r\n0\r\n\r\n",
            b"2\nab\r\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"2 x\r\nab\r\n0\r\n\r\n",
            b"0x2\r\nab\r\n0\r\n\r\n",
        ]
    )
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk


def cut_short(rng: random.Random) -> bytes:
    whole = good(rng)
    return whole[: rng.randrange(len(whole))]


def too_large(rng: random.Random) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX: " + b"x" * rng.randrange(9_000, 12_000)


def interim_flood(rng: random.Random) -> bytes:
    return b"HTTP/1.1 103 Early Hints\r\n\r\n" * rng.randrange(17, 30)


MAKERS = [*[bad_status_line, bad_header, bad_chunk, cut_short] * 6, too_large, interim_flood]


def mutated(rng: random.Random) -> bytes:
    """A good answer with some bytes changed, removed or added: it may be good still."""
    data = bytearray(good(rng))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(3)] = noise(rng, rng.randrange(4))
    return bytes(data) + (noise(rng, 5) if rng.random() < 0.2 else b"")


class Case:
    def __init__(self, rng: random.Random, number: int) -> None:
        self.malformed = number < MALFORMED
        maker = MAKERS[number % len(MAKERS)] if self.malformed else mutated
        self.maker = maker.__name__
        self.answer = maker(rng)
        self.cut = rng.randrange(len(self.answer) + 1) if rng.random() < 0.3 else None
        # what only the end of the stream shows to be wrong must end; the rest may hang on,
        # which ends in a time-out where the client is still waiting
        self.closes = maker is cut_short or rng.random() < 0.9


class Server:
    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        self.listener = StreamServer(("127.0.0.1", 0), self.serve)
        self.listener.start()

    def serve(self, connection: Any, _address: object) -> None:
        try:
            while self.answer(connection):
                pass
        except OSError:
            pass

    def answer(self, connection: Any) -> bool:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            more = connection.recv(4096)
            if not more:
                return False
            data += more
        _, kind, number = data.split()[1].split(b"/")
        if kind == b"probe":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(number))
            connection.sendall(number)
            return True
        case = self.cases[int(number)]
        if case.cut is None:
            connection.sendall(case.answer)
        else:
            connection.sendall(case.answer[: case.cut])
            gevent.sleep(0)
            connection.sendall(case.answer[case.cut :])
        return not case.closes


def test_malformed_answers_are_error_samples_and_harm_nobody_else() -> None:
    """Seeded; every case is followed by a probe on the same user, whose answer must be its own."""
    rng = random.Random(20_261_123)
    cases = [Case(rng, number) for number in range(MALFORMED + MUTATED)]
    server = Server(cases)
    target = SimpleNamespace(
        url=f"http://127.0.0.1:{server.listener.server_port}", host="", ca_file="", http="auto"
    )
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[tuple[str, bytes, str]] = []

    def user(numbers: range) -> None:
        samples: list[RequestSample] = []
        limits = Limits(read_s=0.05, head_bytes=8192)
        client = TTFBClient(target, samples.append, limits=limits)
        for number in numbers:
            case = cases[number]
            error = client.get(f"/case/{number}", name="case").error
            outcomes[case.maker, error] += 1
            if error not in ERROR_KINDS or (case.malformed and not error):
                wrong.append((case.maker, case.answer[:200], error))
            # a probe may only fail because it waits on a busy machine, never by its content
            probe = client.get(f"/probe/{number}", name="probe", timeout=10.0)
            if probe.error or probe.text != str(number):
                wrong.append(("probe after " + case.maker, case.answer[:200], probe.error))
        client.close()
        assert len(samples) == 2 * len(numbers)

    try:
        users = [gevent.spawn(user, range(i, len(cases), USERS)) for i in range(USERS)]
        gevent.joinall(users, timeout=90, raise_error=True)
        assert all(u.dead for u in users), "a user hangs"
    finally:
        server.listener.stop(timeout=1)
    assert wrong == []
    assert sum(outcomes.values()) == len(cases)
    assert {error for _, error in outcomes} >= {"protocol", "closed-early", "too-large"}
