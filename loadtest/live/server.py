"""
Serves a live page on loopback, for as long as the program runs.

Who knows the token in the page's address may read; everybody else gets 403.  A request whose Host
is not this server's own address gets 403 too, so that no name of a foreign page can be made to lead
here (DNS rebinding).  Nothing can be changed through it: GET and HEAD alone are answered.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from loadtest.errors import LoadtestError, PlanError
from loadtest.live.board import LiveBoard
from loadtest.live.sse import KEEP_ALIVE, RETRY, event_frame

HOST: Final = "127.0.0.1"
MOST_PAGES: Final = 16
"""Streams at a time; each has a thread."""

_PAGE: Final = Path(__file__).with_name("page.html")
_KEEP_ALIVE_S: Final = 10.0
_PATIENCE_S: Final = 10.0
_LAST_WORDS_S: Final = 2.0
_TOKEN_FORM: Final = re.compile(r"[A-Za-z0-9_-]{16,200}")


class LiveServer(ThreadingHTTPServer):
    """
    The server of one run's live pages.

    Args:
        board: What they show.
        token: Who knows it may read.
        port: Port on loopback; 0 takes a free one.

    Raises:
        PlanError: The port cannot be had, or the token is too easily guessed.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, board: LiveBoard, token: str, port: int = 0) -> None:
        if not _TOKEN_FORM.fullmatch(token):
            raise PlanError("LOADTEST_LIVE_TOKEN: want 16 or more letters, digits, '-' or '_'")
        self.board = board
        self.token = token
        self.page = _PAGE.read_bytes()
        self.policy = content_policy(self.page.decode("utf-8"))
        self._streams = threading.BoundedSemaphore(MOST_PAGES)
        self._listeners = 0
        self._counting = threading.Condition()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PlanError(f"--live={port}: {reason}; leave the port out for a free one") from None

    @property
    def url(self) -> str:
        """Address of the page, token and all."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What a request's Host may say."""
        return frozenset(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    @contextmanager
    def listening(self) -> Iterator[bool]:
        """Count a page that listens; False where there are too many."""
        if not self._streams.acquire(blocking=False):
            yield False
            return
        self._count(1)
        try:
            yield True
        finally:
            self._count(-1)
            self._streams.release()

    def wait_until_unwatched(self, timeout_s: float) -> None:
        """Wait until no page listens any more, at most so long."""
        with self._counting:
            self._counting.wait_for(lambda: self._listeners == 0, timeout_s)

    @property
    def watched(self) -> bool:
        """Whether a page listens."""
        return self._listeners > 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a page that went away in the middle of an answer."""

    def _count(self, step: int) -> None:
        with self._counting:
            self._listeners += step
            self._counting.notify_all()


@contextmanager
def serve_live(board: LiveBoard, token: str, port: int) -> Iterator[LiveServer]:
    """
    Serve a board until the block ends; nothing of it is left then.

    Args:
        board: What is shown.
        token: Who knows it may read.
        port: Port on loopback; 0 takes a free one.

    Raises:
        PlanError: As for `LiveServer`.
    """
    server = LiveServer(board, token, port)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.1,), name="live-page", daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        board.close()
        server.wait_until_unwatched(_LAST_WORDS_S)
        server.shutdown()
        server.server_close()
        thread.join()


def content_policy(page: str) -> str:
    """
    Return the Content-Security-Policy of a page: its own style and script by their hash, no other.

    Source: CSP Level 3, section 2.3.1 (hash-source).
    """
    hashes = {
        tag: base64.b64encode(hashlib.sha256(body.encode("utf-8")).digest()).decode()
        for tag in ("style", "script")
        for body in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    }
    return (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: LiveServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "loadtest", ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        """Answer the page, its stream, the report or the metrics."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self._refuse(403, "wrong Host: open the address as it was printed")
            return
        path = self.path.partition("?")[0]
        _, _, rest = path.lstrip("/").partition("/")
        if path == "/metrics":
            allowed = self._same(self.headers.get("Authorization", ""), "Bearer ")
            rest = "metrics"
        else:
            allowed = self._same(path[1:].partition("/")[0], "")
        if not allowed:
            self._refuse(403, "missing or wrong token: open the address as it was printed")
            return
        answers = {
            "": self._page,
            "events": self._events,
            "report.html": self._report,
            "metrics": self._metrics,
        }
        if rest not in answers:
            self._refuse(404, "there is no such page")
            return
        answers[rest]()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the token stands in the path."""

    def _same(self, given: str, before: str) -> bool:
        wanted = f"{before}{self.server.token}".encode()
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted)

    def _page(self) -> None:
        policy = {"Content-Security-Policy": self.server.policy}
        self._answer(200, "text/html; charset=utf-8", self.server.page, policy)

    def _report(self) -> None:
        report = self.server.board.report
        if report is None:
            self._refuse(404, "there is no report yet")
            return
        try:
            content = report.read_bytes()
        except OSError as error:
            self._refuse(404, f"the report cannot be read: {error.strerror}")
            return
        self._answer(200, "text/html; charset=utf-8", content)

    def _metrics(self) -> None:
        try:
            text = self.server.board.metrics()
        except (LoadtestError, RuntimeError):  # gone, or its client is closed already
            self._refuse(503, "the coordinator does not answer (any more)")
            return
        self._answer(200, "text/plain; version=0.0.4; charset=utf-8", text)

    def _events(self) -> None:
        with self.server.listening() as may:
            if not may:
                self._refuse(503, f"{MOST_PAGES} pages listen already")
                return
            self.close_connection = True
            self._head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
            if self.command == "HEAD":
                return
            with contextlib.suppress(OSError):  # the page went away
                self._stream()

    def _stream(self) -> None:
        board = self.server.board
        seen, content = board.snapshot()
        self.wfile.write(RETRY + event_frame("all", content))
        while (news := board.wait(seen, _KEEP_ALIVE_S)) is not None:
            self.wfile.write(KEEP_ALIVE if news[0] == seen else event_frame("news", news[1]))
            seen = news[0]

    def _refuse(self, status: int, sentence: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{sentence}\n".encode())

    def _answer(
        self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        length = {"Content-Type": kind, "Content-Length": str(len(body))}
        self._head(status, {**length, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in (
            *headers.items(),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
