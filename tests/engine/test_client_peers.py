"""What curl, Go and urllib3 read alike, the client reads; the page that says so is held to it."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from odd_answers import ANSWERS, Answer
from peer_readers import READERS, read_with, version_of

from loadtest.engine.client.apart import take_apart
from loadtest.engine.client.parser import FramingError, ResponseFramer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"
PEERS = ("curl", "Go", "urllib3", "Node")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
CORPUS = [answer for answer in ANSWERS.values() if len(answer.raw) < 1_000]
NOISE = (
    b"",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b";",
    b":",
    b",",
    b"0",
    b"2",
    b"\0",
    b"\xff",
    b"H",
)
READS, REFUSES, OTHERWISE = "reads", "refuses", "reads otherwise"


def ours(answer: Answer, *, drip: bool = False) -> bytes | None:
    """The body as the client reads it, None where it refuses; the next answer must be its own."""
    framer = ResponseFramer()
    framer.start(bodiless=answer.head)
    step = 1 if drip else max(1, len(answer.raw))
    pieces = [answer.raw[at : at + step] for at in range(0, len(answer.raw), step)]
    try:
        for piece in pieces:
            if framer.feed(piece):
                break
    except FramingError:
        return None
    if not framer.done and not framer.end_of_stream():
        return None
    if framer.keep_alive and not framer.surplus:
        framer.start(bodiless=False)
        assert framer.feed(OK)
        assert (framer.status, framer.surplus) == (200, False)
    return take_apart(pieces, bodiless=answer.head)[1]


def told(answer: Answer, body: bytes | None) -> str:
    return REFUSES if body is None else READS if body == answer.body else OTHERWISE


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_alike_however_it_is_cut(name: str) -> None:
    answer = ANSWERS[name]
    if len(answer.raw) < 1_000:
        assert ours(answer, drip=True) == ours(answer)


def mutated(rng: random.Random) -> Answer:
    """Two odd answers crossed, some bytes changed, removed or added."""
    one, two = rng.choice(CORPUS), rng.choice(CORPUS)
    data = bytearray(one.raw[: rng.randrange(len(one.raw) + 1)])
    data += (
        two.raw[rng.randrange(len(two.raw) + 1) :] if rng.random() < 0.5 else one.raw[len(data) :]
    )
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(3)] = rng.choice(NOISE)
    return Answer(bytes(data), head=one.head)


def test_mutated_answers_are_read_alike_however_they_are_cut() -> None:
    """Seeded; nothing but an outcome comes of them, and none hides in the next answer."""
    rng = random.Random(20_261_127)
    for _ in range(int(os.environ.get("LOADTEST_FUZZ", "2000"))):
        answer = mutated(rng)
        whole = ours(answer)
        assert ours(answer, drip=True) == whole, answer


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the page's table, by name."""
    found = re.findall(r"^\| (.+?) \|((?: [^|]+ \|){5})$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")[:-1]] for name, cells in found}


def test_the_page_tells_what_the_client_reads() -> None:
    """And what all three read it reads; where it reads more, the page says so as well."""
    shown = rows(PAGE.read_text())
    del shown["answer"]
    assert list(shown) == list(ANSWERS)
    for name, answer in ANSWERS.items():
        *peers, mine = shown[name]
        assert (name, told(answer, ours(answer))) == (name, mine)
        if all(peer == READS for peer in peers[:3]):
            assert mine == READS, name


@pytest.mark.contract
@pytest.mark.parametrize("peer", PEERS)
def test_the_page_tells_what_its_peers_read(peer: str) -> None:
    page = PAGE.read_text()
    if (version := version_of(peer)) == "" or f"{peer} {version}" not in page:
        pytest.skip(f"the page is about another {peer} than {version or 'none'}")
    shown, column = rows(page), PEERS.index(peer)
    answers = list(ANSWERS.values())
    for (name, answer), body in zip(ANSWERS.items(), read_with(peer, answers), strict=True):
        found = {told(answer, body)}
        if found != {shown[name][column]}:  # a race within the peer, such as Go's after a 204
            found |= {told(answer, again) for again in read_with(peer, [answer] * 3)}
        assert shown[name][column] in found, name


def table() -> str:
    """The page's table, from all peers as they are installed: python tests/engine/<this file>."""
    answers = list(ANSWERS.values())
    found = {peer: read_with(peer, answers) for peer in READERS}
    lines = ["| answer | curl | Go | urllib3 | Node | loadtest |", "|---|---|---|---|---|---|"]
    for number, (name, answer) in enumerate(ANSWERS.items()):
        cells = [told(answer, found[peer][number]) for peer in PEERS]
        lines.append(f"| {name} | {' | '.join([*cells, told(answer, ours(answer))])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(", ".join(f"{peer} {version_of(peer)}" for peer in PEERS))
    print(table())
