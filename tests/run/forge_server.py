"""A stand-in for the comments of GitHub and GitLab, as their API references describe them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

GITHUB_LIST = re.compile(r"/repos/o/shop/issues/7/comments")
GITHUB_ONE = re.compile(r"/repos/o/shop/issues/comments/(\d+)")
GITLAB_LIST = re.compile(r"/projects/42/merge_requests/7/notes")
GITLAB_ONE = re.compile(r"/projects/42/merge_requests/7/notes/(\d+)")


@dataclass
class CommentStore:
    """
    Comments and who may write them.

    Args:
        account: Whose token it is; empty answers 403 to that question, as GitHub does to a job's.
        writable: Whether the token may write.
    """

    account: str = "loadtest-bot"
    writable: bool = True
    comments: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def add(self, body: str, author: str, kind: str = "User") -> int:
        """Put a comment of somebody's there; return its id."""
        number = 100 + len(self.comments)
        who = {"login": author, "username": author, "type": kind}
        self.comments.append({"id": number, "body": body, "user": who, "author": who})
        return number

    def body_of(self, number: int) -> str:
        """Return a comment's text."""
        return str(next(c["body"] for c in self.comments if c["id"] == number))

    def answer(self, method: str, target: str, token: str, body: bytes) -> tuple[int, Any]:
        """Return status and JSON of a request."""
        self.asked.append(f"{method} {target}")
        parts = urlsplit(target)
        if token not in ("Bearer secret-token", "secret-token"):
            return 401, {"message": "Bad credentials"}
        if parts.path == "/user":
            known = {"login": self.account, "username": self.account}
            refused = {"message": "Resource not accessible by integration"}
            return (200, known) if self.account else (403, refused)
        if GITHUB_LIST.fullmatch(parts.path) or GITLAB_LIST.fullmatch(parts.path):
            if method == "GET":
                query = parse_qs(parts.query)
                size, page = int(query["per_page"][0]), int(query["page"][0])
                return 200, self.comments[(page - 1) * size : page * size]
            if method == "POST" and self.writable:
                author = self.account or "github-actions[bot]"
                self.add(json.loads(body)["body"], author, "User" if self.account else "Bot")
                return 201, {"id": self.comments[-1]["id"], "html_url": "https://forge/c/1"}
        one = GITHUB_ONE.fullmatch(parts.path) or GITLAB_ONE.fullmatch(parts.path)
        if one and method == ("PATCH" if "repos" in parts.path else "PUT") and self.writable:
            comment = next(c for c in self.comments if c["id"] == int(one[1]))
            comment["body"] = json.loads(body)["body"]
            return 200, {"id": comment["id"]}
        if not self.writable:
            return 403, {"message": "Resource not accessible by integration"}
        return 404, {"message": "Not Found"}

    def transport(self) -> httpx.MockTransport:
        """Return it in place of a network."""

        def handle(request: httpx.Request) -> httpx.Response:
            headers = request.headers
            token = headers.get("authorization") or headers.get("private-token", "")
            target = request.url.raw_path.decode()
            status, value = self.answer(request.method, target, token, request.content)
            return httpx.Response(status, json=value)

        return httpx.MockTransport(handle)


@contextmanager
def serving(store: CommentStore) -> Iterator[str]:
    """Serve it on loopback; give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            token = self.headers.get("authorization") or self.headers.get("private-token") or ""
            status, value = store.answer(self.command, self.path, token, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815 - the standard library's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
