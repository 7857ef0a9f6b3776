"""Forms with files: beside what requests makes of the same, and read by another's parser."""

from __future__ import annotations

import io
import re
from email.parser import BytesParser
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from loadtest.engine.client.multipart import encode_form

CASES: list[tuple[Any, Any]] = [
    ({"f": b"x"}, None),
    ({"f": "text"}, {"a": 1, "b": ["x", "y"]}),
    ({"f": ("a.txt", b"x")}, [("a", "1"), ("a", "2")]),
    ({"f": ("a.txt", b"x", "text/plain")}, None),
    ([("f", ("a.txt", "x", "text/plain", {"X-A": "1"})), ("f", ("b.txt", b"y"))], {"a": None}),
    ({'q"\r\n': ('n"\n.txt', b"x")}, None),
    ({"f": (None, "no file")}, None),
]


def plain(body: bytes, kind: str) -> bytes:
    boundary = kind.partition("boundary=")[2].encode()
    return body.replace(boundary, b"BOUNDARY")


@pytest.mark.parametrize(("files", "data"), CASES)
def test_a_form_is_as_requests_makes_it(files: Any, data: Any) -> None:
    prepared = requests.Request("POST", "http://form/", files=files, data=data).prepare()
    assert isinstance(prepared.body, bytes)
    theirs = plain(prepared.body, str(prepared.headers["Content-Type"]))
    assert plain(*encode_form(files, data)) == theirs


def test_an_open_file_gives_its_name_and_what_is_left_of_it() -> None:
    file = io.BytesIO(b"0123")
    file.name = "/tmp/photo.png"
    file.read(1)
    body, _ = encode_form({"f": file})
    assert b'name="f"; filename="photo.png"\r\n\r\n123\r\n' in body


@given(st.dictionaries(st.text(min_size=1), st.binary(), min_size=1, max_size=4))
def test_any_form_is_read_back(fields: dict[str, bytes]) -> None:
    body, kind = encode_form({name: ("f", content) for name, content in fields.items()})
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + body)
    boundary = re.escape(kind.partition("boundary=")[2].encode())
    assert len(re.findall(b"(?m)^--" + boundary + b"\r$", body)) == len(fields)
    assert message.is_multipart()


@pytest.mark.parametrize(
    ("files", "data"), [("x", None), ({"f": ("a",)}, None), ({"f": b"x"}, "raw"),
                        ({"f": ("a", b"x", "t\r\nX: y")}, None)]
)  # fmt: skip
def test_what_is_no_form_is_refused(files: Any, data: Any) -> None:
    with pytest.raises(ValueError, match=r"files|data"):
        encode_form(files, data)
