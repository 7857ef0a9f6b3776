"""What a locustfile gets back from our client: one of our responses, with Locust's manners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any

from locust.exception import (
    CatchResponseError,
    InterruptTaskSet,
    RescheduleTask,
    ResponseError,
    StopTest,
    StopUser,
)

from loadtest.engine.client.response import CaughtResponse, Response
from loadtest.engine.client.streamed import StreamedResponse
from loadtest.errors import LoadtestError

_DIRECTIONS = (InterruptTaskSet, RescheduleTask, StopTest, StopUser)
"""Raised to say where a user goes on, which says nothing about the answer."""


class Answer:
    """
    A response as ``HttpUser`` and ``FastHttpUser`` know them.

    Args:
        inner: Our response; what is not said here is asked of it.
        meta: What ``events.request`` is told; a script may change its ``name``.
        history: The answers that redirected to this one.
        done: Called once when the outcome is known.
    """

    def __init__(
        self,
        inner: Response,
        meta: dict[str, Any],
        history: list[Answer],
        done: Callable[[Answer, str], None],
    ) -> None:
        self.inner = inner
        self.request_meta = meta
        self.history = history
        self._title = meta["name"]
        self.js: Any = None
        self.encoding: str | None = None
        self._done: Callable[[Answer, str], None] | None = done
        self._judged = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __bool__(self) -> bool:
        return self.inner.ok

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def content(self) -> Any:
        """The body as bytes; None where no answer came."""
        return self.inner.content if self.inner.status_code else None

    @property
    def text(self) -> Any:
        """The body as text; None where no answer came."""
        return self.inner.text if self.inner.status_code else None

    @property
    def error(self) -> Exception | None:
        """Why no complete answer came."""
        sample = self.inner.sample
        return ConnectionError(f"{sample.error}: {sample.detail}") if sample.error else None

    @property
    def elapsed(self) -> timedelta:
        """From the start of the request to the last byte of its answer."""
        return timedelta(milliseconds=self.inner.elapsed_ms)

    @property
    def reason(self) -> str:
        """The usual words for the status."""
        try:
            return HTTPStatus(self.inner.status_code).phrase
        except ValueError:
            return ""

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies that this answer set."""
        pairs = [v for k, v in self.inner.headers.pairs if k.lower() == "set-cookie"]
        named = (pair.partition(";")[0].partition("=") for pair in pairs)
        return {name.strip(): value.strip() for name, _, value in named}

    def iter_content(self, chunk_size: int | None = 1) -> Iterator[bytes]:
        """Yield the body in pieces: as they come with ``stream=True``, else it is here already."""
        if isinstance(self.inner, StreamedResponse):
            return self.inner.iter_content(chunk_size)
        body = self.inner.content
        size = chunk_size or max(1, len(body))
        return (body[at : at + size] for at in range(0, len(body), size))

    def iter_lines(self, *_: Any, decode_unicode: bool = False, **__: Any) -> Iterator[Any]:
        """Yield the body line by line, as above."""
        if isinstance(self.inner, StreamedResponse):
            return self.inner.iter_lines(decode_unicode=decode_unicode)
        return iter((self.inner.text if decode_unicode else self.inner.content).splitlines())

    def close(self) -> None:
        """Read no more of a body that is read as it comes; else there is nothing to do."""
        if isinstance(self.inner, StreamedResponse):
            self.inner.close()

    def conclude(self) -> None:
        """Have it recorded, where no ``with`` block judges it, and tell of it."""
        if isinstance(self.inner, CaughtResponse):
            self.inner.conclude()
        self.tell()

    def success(self) -> None:
        """Count the request as a success; where it is recorded already, say how to."""
        self.inner.success()
        self._judged = True

    def failure(self, why: object) -> None:
        """Count the request as failed."""
        self.inner.failure(why)
        self._judged = True

    def raise_for_status(self) -> None:
        """
        Turn a failed request into Locust's exception for one.

        Raises:
            ResponseError: No complete answer, or a status from 400 on.
        """
        sample = self.inner.sample
        if sample.error and sample.error != "status":
            raise CatchResponseError(f"{self.inner.url}: {sample.error}: {sample.detail}")
        if sample.status >= 400:
            raise ResponseError(f"{self.inner.url}: HTTP {sample.status}")

    def __enter__(self) -> Answer:
        self.inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        meta = self.request_meta
        if isinstance(self.inner, CaughtResponse) and meta["name"] != self._title:
            self.inner.name = f"{meta['request_type']} {meta['name']}"
        blamed = isinstance(error, CatchResponseError | ResponseError)
        if blamed and not self._judged:
            self.failure(error)
        direction = isinstance(error, _DIRECTIONS)
        self.inner.__exit__(*((None,) * 3 if direction or blamed else (kind, error, traceback)))
        self.tell()
        return blamed

    def tell(self) -> None:
        """Say that the outcome is known; a second time nothing happens."""
        done, self._done = self._done, None
        if done is not None:
            sample = self.inner.sample
            kind, detail = sample.error, sample.detail
            if not kind and self._unjudged():
                kind, detail = "status", sample.unexpected
            done(self, f"{kind}: {detail}" if kind else "")

    def _unjudged(self) -> bool:
        """Tell whether the row is yet to come, and will say that the status is no success."""
        return isinstance(self.inner, StreamedResponse) and bool(self.inner.expected_fault)

    @property
    def body_bytes(self) -> int:
        """Length of the body; that of the whole answer where it was not kept, or is under way."""
        if isinstance(self.inner, StreamedResponse):
            return self.inner.bytes_received
        try:
            return len(self.inner.content)
        except LoadtestError:
            return self.inner.bytes_received
