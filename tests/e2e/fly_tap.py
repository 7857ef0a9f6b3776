"""A way to a world in Fly's place that notes who calls what, without being a caller itself."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

TOLD = ("authorization", "content-type")


class FlyTap(http.server.ThreadingHTTPServer):
    """
    Passes calls on.

    Attributes:
        seen: Method, path and status of each call that was answered.
    """

    def __init__(self, api_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.api = httpx.Client(base_url=api_url, trust_env=False, timeout=90)
        self.seen: list[tuple[str, str, int]] = []

    @property
    def url(self) -> str:
        """Return what stands in the API's place."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: who is killed does not wait for its answer."""


class _Call(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlyTap

    def do_GET(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def do_DELETE(self) -> None:
        self.pass_on()

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: self.headers[name] for name in TOLD if name in self.headers}
        answer = self.server.api.request(self.command, self.path, content=body, headers=headers)
        self.server.seen.append((self.command, self.path, answer.status_code))
        self.send_response(answer.status_code)
        for name in ("content-type", "retry-after"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fly_tap(api_url: str) -> Iterator[FlyTap]:
    """Give a way to an API."""
    with FlyTap(api_url) as tap:
        threading.Thread(target=tap.serve_forever, daemon=True).start()
        yield tap
        tap.shutdown()
        tap.api.close()
