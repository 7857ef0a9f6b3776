"""An answer whose body a scenario reads as it comes, such as one without an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadtest.engine.client.bodies import Body
from loadtest.engine.client.codings import StreamDecoder
from loadtest.engine.client.headers import charset_of
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.response import CaughtResponse
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.wait import Failure
from loadtest.errors import LoadtestError
from loadtest.units import NS_PER_S


class StreamedResponse(CaughtResponse):
    """
    What a request with ``stream=True`` returns, as soon as the head of the answer is here.

    Its row is recorded when the body is at its end, when it is closed (by ``close``, at the end of
    its ``with`` block, or with the arrival), or when the body breaks off; reading ends with that,
    and nothing is raised.

    Args:
        sample: The request's stamps and outcome.
        url: Base URL and path that were asked.
        pieces: What the head is in.
        body: Gives the body.
        recorder: Takes the sample.
        let_go: Called once, when the body is read no more.
        limits: How long a piece may take, and how much of a body is kept by ``content``.
    """

    __slots__ = ("_let_go", "_limits", "_read_body", "_source")

    def __init__(
        self,
        sample: RequestSample,
        url: str,
        pieces: list[bytes],
        body: Body,
        *,
        recorder: Callable[[RequestSample], object],
        let_go: Callable[[], object],
        limits: Limits,
    ) -> None:
        super().__init__(sample, url, pieces, True, recorder)
        self._source: Body | None = body
        self._let_go = let_go
        self._limits = limits
        self._read_body: bytes | None = None

    def iter_content(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """
        Yield the body, decoded, piece by piece as it comes.

        Args:
            chunk_size: Bytes of a piece, but for the last; None for as many as came.

        Raises:
            LoadtestError: Its coding is broken.
        """
        decoder = StreamDecoder(self.headers.get("content-encoding", ""), self.url)
        held = b""
        while data := self._read():
            held += decoder.decode(data)
            size = chunk_size or len(held)
            while held and len(held) >= size:
                piece, held = held[:size], held[size:]
                yield piece
        if held:
            yield held

    def iter_lines(self, *, decode_unicode: bool = False) -> Iterator[bytes | str]:
        """
        Yield the lines of the body as they come, without their ends.

        Args:
            decode_unicode: As text, by the charset that the headers name, else UTF-8; else bytes.
        """
        held, charset = b"", charset_of(self.headers)
        for data in self.iter_content():
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                bare = line.removesuffix(b"\r")
                yield bare.decode(charset, "replace") if decode_unicode else bare
        if held:
            yield held.decode(charset, "replace") if decode_unicode else held

    @property
    def content(self) -> bytes:
        """
        The whole body, read to its end.

        Raises:
            LoadtestError: It is longer than what is kept, or its coding is broken.
        """
        if self._read_body is None:
            pieces, most = [], self._limits.keep_bytes
            for piece in self.iter_content():
                pieces.append(piece)
                most -= len(piece)
                if most < 0:
                    self.close()
                    raise LoadtestError(
                        f"{self.url}: the body is longer than {self._limits.keep_bytes} bytes; "
                        "read it with iter_content, or raise client.keep_bytes in the plan"
                    )
            self._read_body = b"".join(pieces)
        return self._read_body

    def close(self) -> None:
        """Read no more, and record the row; harmless when closed."""
        self.record()

    @property
    def alive(self) -> bool:
        """Whether the body may be read on."""
        return self._source is not None

    @property
    def expected_fault(self) -> str:
        """Why its row will be one of a failed request, as far as is known; empty for no reason."""
        return "" if self.judged else self.sample.unexpected

    def conclude(self) -> None:
        """Leave it open: its row is recorded when it is closed."""

    def record(self) -> None:
        """Hand the sample to the recorder, once; the body is read no more."""
        source, self._source = self._source, None
        if source is not None:
            source.let_go()
            self._let_go()
        super().record()

    def _read(self) -> bytes:
        """Return what comes next of the body; nothing where it has ended or broken off."""
        if self._source is None:
            return b""
        try:
            data = self._source.read(int(self._limits.read_s * NS_PER_S))
        except Failure as failure:
            self.sample.error, self.sample.detail = failure.kind, failure.detail
            data = b""
        except BaseException:
            self.close()
            raise
        if not data and not self.entered:
            self.close()
        return data
