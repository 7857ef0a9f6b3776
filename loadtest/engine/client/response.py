"""What a scenario gets back: the answer, its times, and a say in whether it counts as a success."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from loadtest.engine.client.apart import take_apart
from loadtest.engine.client.codings import decode
from loadtest.engine.client.headers import Headers, charset_of
from loadtest.engine.client.http2_heads import Pieces
from loadtest.engine.client.sample import RequestSample
from loadtest.errors import LoadtestError
from loadtest.records.kinds import ERROR_CHECK
from loadtest.units import NS_PER_MS, NS_PER_US

_RECORDED: Final = (
    "the request is recorded already; send it with catch_response=True and judge it in a with block"
)


class ResponseError(Exception):
    """
    A request failed, and the scenario asked to be told by ``raise_for_status``.

    Scenarios may raise it inside a ``catch_response`` block too: it marks the request as failed.
    """


class Response:
    """
    The answer to one request, or what became of it.

    Headers and body are taken out of the raw bytes when they are first asked for.

    Args:
        sample: The request's stamps and outcome.
        url: Base URL and path that were asked.
        pieces: Raw bytes of the response as far as they were kept.
        kept: Whether they are all there.
    """

    __slots__ = ("_body", "_headers", "_kept", "_pieces", "sample", "url")

    def __init__(self, sample: RequestSample, url: str, pieces: list[bytes], kept: bool) -> None:
        self.sample = sample
        self.url = url
        self._pieces = pieces
        self._kept = kept
        self._headers: Headers | None = None
        self._body = b""

    def __repr__(self) -> str:
        return f"<Response {self.sample.error or self.sample.status} {self.url}>"

    @property
    def status_code(self) -> int:
        """HTTP status; 0 when none came."""
        return self.sample.status

    @property
    def error(self) -> str:
        """Empty, or the kind of failure (``records.kinds.ERROR_KINDS``)."""
        return self.sample.error

    @property
    def history(self) -> Sequence[Response]:
        """The answers that redirected to this one; none unless it was asked to follow them."""
        return ()

    @property
    def ok(self) -> bool:
        """Whether a complete answer came with a status below 400."""
        return not self.sample.error and 0 < self.sample.status < 400

    def __bool__(self) -> bool:
        return self.ok

    @property
    def headers(self) -> Headers:
        """Response headers; empty when no head came."""
        if self._headers is None:
            pieces, bodiless = self._pieces, self.sample.method == "HEAD"
            pairs, self._body = (
                pieces.take_apart()
                if isinstance(pieces, Pieces)
                else take_apart(pieces, bodiless=bodiless)
            )
            self._headers = Headers(pairs)
            self._pieces = []
        return self._headers

    @property
    def content(self) -> bytes:
        """
        The body, decoded (gzip, deflate, br, zstd).

        Raises:
            LoadtestError: It was longer than what is kept, or its coding is broken.
        """
        headers = self.headers
        if not self._kept:
            raise LoadtestError(
                f"{self.url}: the body of {self.sample.bytes} bytes was not kept; to read it, "
                "raise client.keep_bytes in the plan"
            )
        return decode(self._body, headers.get("content-encoding", ""), self.url)

    @property
    def text(self) -> str:
        """The body as text, by the charset that the headers name, else UTF-8; never an error."""
        return self.content.decode(charset_of(self.headers), "replace")

    def json(self) -> Any:
        """
        Return the body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.content)

    @property
    def bytes_received(self) -> int:
        """Bytes of head and body as they came."""
        return self.sample.bytes

    @property
    def ttfb_ms(self) -> float:
        """Time to first byte: last request byte sent to first response byte, milliseconds."""
        return self.sample.ttfb_ms

    @property
    def elapsed(self) -> timedelta:
        """Start of the request to the first byte of its answer, as in requests; 0 without one."""
        sample = self.sample
        first_ns = sample.first_ns or sample.start_ns
        return timedelta(microseconds=(first_ns - sample.start_ns) / NS_PER_US)

    @property
    def elapsed_ms(self) -> float:
        """Start of the request to its last response byte, milliseconds."""
        return (
            (self.sample.last_ns - self.sample.start_ns) / NS_PER_MS if self.sample.last_ns else 0.0
        )

    @property
    def phases_ms(self) -> dict[str, float]:
        """Milliseconds of each phase, in the order they happen."""
        sample = self.sample
        return {
            "queue": sample.queue_ns / NS_PER_MS,
            "dns": sample.dns_ns / NS_PER_MS,
            "connect": sample.connect_ns / NS_PER_MS,
            "tls": sample.tls_ns / NS_PER_MS,
            "send": sample.send_ns / NS_PER_MS,
            "wait": sample.wait_ns / NS_PER_MS,
            "receive": sample.receive_ns / NS_PER_MS,
        }

    @property
    def judged(self) -> bool:
        """Whether what it counts as is settled."""
        return True

    def success(self) -> None:
        """
        Count the request as a success, in a ``catch_response`` block.

        Raises:
            LoadtestError: It was sent without ``catch_response=True`` and is recorded already.
        """
        raise LoadtestError(_RECORDED)

    def failure(self, why: object) -> None:
        """
        Count the request as failed, in a ``catch_response`` block.

        Args:
            why: A text or an exception; it stands in the error's detail.

        Raises:
            LoadtestError: It was sent without ``catch_response=True`` and is recorded already.
        """
        raise LoadtestError(f"{_RECORDED} (failure: {why})")

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return None

    def raise_for_status(self) -> None:
        """
        Turn a failed request into an exception.

        Raises:
            ResponseError: No complete answer, or a status from 400 on.
        """
        if self.sample.error:
            raise ResponseError(f"{self.url}: {self.sample.error}: {self.sample.detail}")
        if self.sample.status >= 400:
            raise ResponseError(f"{self.url}: HTTP {self.sample.status}")


class CaughtResponse(Response):
    """
    A response whose success the scenario decides: ``with client.get(..., catch_response=True)``.

    The sample is recorded at the end of the block: failed if ``failure`` was called or the block
    raised, a success if ``success`` was called, else by its status.
    """

    __slots__ = ("_recorder", "_verdict", "entered", "hops")

    def __init__(
        self,
        sample: RequestSample,
        url: str,
        pieces: list[bytes],
        kept: bool,
        recorder: Callable[[RequestSample], object],
    ) -> None:
        super().__init__(sample, url, pieces, kept)
        self._recorder: Callable[[RequestSample], object] | None = recorder
        self._verdict: str | None = None
        self.entered = False
        self.hops: list[CaughtResponse] = []

    @property
    def history(self) -> list[CaughtResponse]:
        """The answers that redirected to this one, the first one first."""
        return self.hops

    @property
    def name(self) -> str:
        """Name of the request in the tables; what the answer said may become part of it."""
        return self.sample.name

    @name.setter
    def name(self, name: str) -> None:
        self.sample.name = name

    @property
    def judged(self) -> bool:
        """Whether somebody has said what it counts as."""
        return self._verdict is not None

    def success(self) -> None:
        """Count it as a success, whatever its status; an answer that never came stays failed."""
        self._verdict = ""

    def failure(self, why: object) -> None:
        """Count it as failed; ``why`` is a text or an exception."""
        self._verdict = str(why) or "failed"

    def __enter__(self) -> Self:
        self.entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception) and self._verdict is None:
            self.failure(error if str(error) else type(error).__name__)
        self.record()
        return isinstance(error, ResponseError)

    def conclude(self) -> None:
        """Record it, where nobody is to judge it; a body that is read as it comes may go on."""
        self.record()

    def record(self) -> None:
        """Hand the sample to the recorder, once."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        sample = self.sample
        if not sample.error:
            if self._verdict:
                sample.error, sample.detail = ERROR_CHECK, self._verdict
            elif self._verdict is None and sample.unexpected:
                sample.error, sample.detail = "status", sample.unexpected
        recorder(sample)
