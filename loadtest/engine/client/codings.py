"""
Content codings of bodies, undone within bounds.

Source: RFC 9110, 8.4; RFC 1952 (gzip); RFC 7932 (br); RFC 8878 and 9659 (zstd).
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

import brotli

from loadtest.errors import LoadtestError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAX_DECODED: Final = 64 * 1024 * 1024  # a bomb of zeros must not take the worker down
_MAX_CODINGS: Final = 4
_TOO_LONG: Final = f"more than {_MAX_DECODED} bytes when decoded"
_ZSTD_WINDOW_LOG: Final = 23
_BROKEN: Final = (OSError, EOFError, zlib.error, brotli.error, zstd.ZstdError, ValueError)


def decode(body: bytes, coding: str, url: str) -> bytes:
    """
    Undo the content codings of a body, the last applied first.

    Args:
        body: As it came.
        coding: Value of Content-Encoding; empty for none.
        url: Where it is from, for the sentence.

    Raises:
        LoadtestError: It is broken, or would become larger than 64 MiB.
    """
    try:
        for name in _innermost_last(coding):
            body = _undo(name, body)
    except _BROKEN as error:
        raise LoadtestError(f"{url}: the body's coding {coding!r} is broken: {error}") from None
    return body


def _innermost_last(coding: str) -> list[str]:
    names = [name.strip().lower() for name in coding.split(",") if name.strip()]
    if len(names) > _MAX_CODINGS:
        raise ValueError(f"{len(names)} codings one over the other, {_MAX_CODINGS} are undone")
    return names[::-1]


def _undo(coding: str, body: bytes) -> bytes:
    """Undo one coding; a body of one that no request asked for stays as it came."""
    undo = _UNDONE.get(coding)
    return body if undo is None or not body else undo(body)


def _inflate(body: bytes) -> bytes:
    try:  # zlib by the book, raw by some servers
        return _bounded(zlib.decompressobj(), body)
    except zlib.error:
        return _bounded(zlib.decompressobj(-zlib.MAX_WBITS), body)


def _bounded(decompressor: Any, body: bytes) -> bytes:
    decoded: bytes = decompressor.decompress(body, _MAX_DECODED)
    if decompressor.unconsumed_tail:
        raise ValueError(_TOO_LONG)
    if not decompressor.eof:
        raise ValueError("it ends too early")
    return decoded


def _gunzip(body: bytes) -> bytes:
    """Undo gzip: every member (RFC 1952, 2.2), and zeros behind the last."""
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        decoded = file.read(_MAX_DECODED + 1)
    if len(decoded) > _MAX_DECODED:
        raise ValueError(_TOO_LONG)
    return decoded


def _unbrotli(body: bytes) -> bytes:
    decompressor = brotli.Decompressor()
    decoded = bytes(decompressor.process(body, output_buffer_limit=_MAX_DECODED))
    if not decompressor.is_finished():
        raise ValueError(f"it ends too early, or is more than {_MAX_DECODED} bytes when decoded")
    return decoded


def _unzstd(body: bytes) -> bytes:
    """Undo zstd: every frame (RFC 8878, 3), with windows up to 8 MiB (RFC 9659)."""
    decoded, rest = bytearray(), body
    while rest:
        decompressor = _new_unzstd()
        decoded += decompressor.decompress(rest, _MAX_DECODED + 1 - len(decoded))
        if len(decoded) > _MAX_DECODED:
            raise ValueError(_TOO_LONG)
        if not decompressor.eof:
            raise ValueError("it ends too early")
        rest = decompressor.unused_data
    return bytes(decoded)


_UNDONE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


class StreamDecoder:
    """
    Undoes the codings of a body piece by piece.

    Args:
        coding: Value of Content-Encoding; empty for none.
        url: Where the body is from, for the sentence.

    Raises:
        LoadtestError: There are too many of them.
    """

    def __init__(self, coding: str, url: str) -> None:
        self._coding, self._url = coding, url
        try:
            names = _innermost_last(coding)
        except ValueError as error:
            raise self._broken(error) from None
        self._steps = [_PIECEWISE[name]() for name in names if name in _PIECEWISE]

    def decode(self, data: bytes) -> bytes:
        """
        Return what a piece comes to.

        Raises:
            LoadtestError: It is broken, or would become larger than 64 MiB.
        """
        try:
            for step in self._steps:
                data = step(data)
        except _BROKEN as error:
            raise self._broken(error) from None
        return data

    def _broken(self, error: Exception) -> LoadtestError:
        return LoadtestError(f"{self._url}: the body's coding {self._coding!r} is broken: {error}")


class _OneAfterTheOther:
    """Undoes a coding whose members or frames follow one another."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._now = make, make()
        self._between = False

    def __call__(self, data: bytes) -> bytes:
        decoded = b""
        while data := (data.lstrip(b"\0") if self._between else data):
            decoded += self._now.decompress(data, _MAX_DECODED + 1 - len(decoded))
            if len(decoded) > _MAX_DECODED:
                raise ValueError(_TOO_LONG)
            self._between = self._now.eof
            if not self._between:
                return bytes(decoded)
            data, self._now = self._now.unused_data, self._make()
        return bytes(decoded)


def _piecewise_inflate() -> Callable[[bytes], bytes]:
    """Zlib by the book, raw by some servers; the first byte tells (RFC 1950, 2.2)."""
    step: list[_OneAfterTheOther] = []

    def undo(data: bytes) -> bytes:
        if data and not step:
            bits = zlib.MAX_WBITS if data[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS
            step.append(_OneAfterTheOther(lambda: zlib.decompressobj(bits)))
        return step[0](data) if step else data

    return undo


def _piecewise_unbrotli() -> Callable[[bytes], bytes]:
    decompressor = brotli.Decompressor()

    def undo(data: bytes) -> bytes:
        decoded = bytes(decompressor.process(data, output_buffer_limit=_MAX_DECODED))
        if len(decoded) >= _MAX_DECODED:
            raise ValueError(_TOO_LONG)
        return decoded

    return undo


def _new_unzstd() -> Any:
    options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options)


def _new_gunzip() -> Any:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


_PIECEWISE: Final[dict[str, Callable[[], Callable[[bytes], bytes]]]] = {
    "gzip": lambda: _OneAfterTheOther(_new_gunzip),
    "x-gzip": lambda: _OneAfterTheOther(_new_gunzip),
    "deflate": _piecewise_inflate,
    "br": _piecewise_unbrotli,
    "zstd": lambda: _OneAfterTheOther(_new_unzstd),
}
