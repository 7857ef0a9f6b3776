"""
Forms with files, as browsers and requests send them.

Source: RFC 7578 (multipart/form-data); the HTML standard, "Multipart form data", for how names are
escaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}


def encode_form(files: Any, data: Any = None) -> tuple[bytes, str]:
    """
    Return the body of a form with files, and its content type.

    Args:
        files: A mapping or pairs of a field's name and its file: bytes, text, what has ``read``, or
            a tuple of file name, content and perhaps content type and headers.
        data: A mapping or pairs of the other fields; a list is a field more than once.

    Raises:
        ValueError: One is neither.
    """
    boundary = os.urandom(16).hex()
    parts = [*_fields(data), *_files(files)]
    body = b"".join(
        f"--{boundary}\r\n".encode() + head.encode() + b"\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _pairs(values: Any, what: str) -> Iterable[tuple[Any, Any]]:
    if isinstance(values, Mapping):
        return values.items()
    if isinstance(values, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in values
    ):
        return values
    raise ValueError(f"{what}=: beside files need a mapping or pairs, not {type(values).__name__}")


def _fields(data: Any) -> Iterator[tuple[str, bytes]]:
    for name, value in _pairs(data or {}, "data"):
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                yield _head(name, None), _bytes(one)


def _files(files: Any) -> Iterator[tuple[str, bytes]]:
    for name, value in _pairs(files, "files"):
        content, kind = value, ""
        more: Mapping[str, str] = {}
        file_name = os.path.basename(str(getattr(value, "name", name)))
        if isinstance(value, list | tuple):
            if not 2 <= len(value) <= 4:
                raise ValueError(
                    f"files={name}: need FILE NAME, CONTENT, and perhaps TYPE, HEADERS"
                )
            file_name, content = value[:2]
            kind = value[2] if len(value) > 2 else ""
            more = value[3] if len(value) > 3 else {}
        yield _head(name, file_name, kind, more), _bytes(content)


def _head(name: Any, file_name: Any, kind: Any = "", more: Mapping[str, str] | None = None) -> str:
    said = f'form-data; name="{_escaped(name)}"'
    if file_name is not None:
        said += f'; filename="{_escaped(file_name)}"'
    lines = {
        "Content-Disposition": said,
        **({"Content-Type": kind} if kind else {}),
        **(more or {}),
    }
    if any(sign in f"{key}{value}" for key, value in lines.items() for sign in "\r\n\0"):
        raise ValueError(f"files={name}: a header of it holds a line break")
    return "".join(f"{key}: {value}\r\n" for key, value in lines.items())


def _escaped(text: Any) -> str:
    plain = text.decode() if isinstance(text, bytes) else str(text)
    return plain.translate(_ESCAPES).replace("\0", "")


def _bytes(value: Any) -> bytes:
    read = getattr(value, "read", None)
    found = read() if read is not None else value
    if isinstance(found, bytes | bytearray | memoryview):
        return bytes(found)
    return str(found).encode()
