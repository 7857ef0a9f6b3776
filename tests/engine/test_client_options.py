"""What scenarios written for Locust's clients send: taken with its meaning, or refused."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from client_servers import OK, ScriptServer, client_of, read_request

from loadtest.engine.client.codings import decode
from loadtest.engine.client.options import (
    OptionError,
    cookie_header,
    settle,
    time_outs,
    without_credentials,
)
from loadtest.engine.client.origin import Origin
from loadtest.engine.client.refusals import refused_calls
from loadtest.engine.client.request import Body, build_fields, encode_body, with_query
from loadtest.errors import LoadtestError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def test_options_come_to_headers_a_body_and_cookies() -> None:
    asked = settle({"auth": ("me", "pä:ss"), "cookies": {"a": "1"}, "stream": True}, {"X": "y"})
    assert asked.headers == {"X": "y", "Authorization": "Basic bWU6cMOkOnNz"}
    assert (asked.cookies, asked.stream, asked.follow) == ({"a": "1"}, True, False)
    assert cookie_header({"a": "1"}, "a=0; b=2") == "b=2; a=1"
    form = settle({"files": {"f": ("f.txt", b"1")}, "allow_redirects": True}, None, {"k": "v"})
    assert form.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert isinstance(form.data, bytes)
    assert (b'name="k"' in form.data, form.follow) == (True, True)


@pytest.mark.parametrize("option", [{"verify": True}, {"stream": False}, {"cert": None}])
def test_what_holds_anyway_may_be_said(option: dict[str, Any]) -> None:
    asked = settle(option, None)
    assert (asked.headers, asked.data, asked.stream) == ({}, None, False)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"verify": False}, "client.insecure"),
        ({"cert": "me.pem"}, "client.certificate"),
        ({"proxies": {"http": "x"}}, "leave it out"),
        ({"auth": "me"}, "two texts"),
        ({"auth": ("a:b", "c")}, "colon"),
        ({"cookies": {"a": "1\r\nX: y"}}, "control characters"),
        ({"cookies": "a=1"}, "mapping"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(option: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        settle(option, None)
    with pytest.raises(OptionError, match="no option 'foo'"):
        settle({"foo": 1}, None)


@pytest.mark.parametrize(
    ("timeout", "pair"),
    [(None, (None, None)), (2, (2.0, 2.0)), ((1, None), (1.0, None)), ([1, 2], (1.0, 2.0))],
)
def test_a_time_out_is_one_of_connecting_and_one_of_the_answer(
    timeout: Any, pair: tuple[float | None, float | None]
) -> None:
    assert time_outs(timeout) == pair
    wrong: Any
    for wrong in ((1, 2, 3), 0, -1, float("inf"), float("nan"), "soon", (1, 0)):
        with pytest.raises(ValueError, match="need seconds above 0, or a pair"):
            time_outs(wrong)


def test_parameters_that_are_none_and_fragments_are_not_sent() -> None:
    assert with_query("/a#f", {"x": None, "y": 1}) == "/a?y=1"
    assert with_query("/a", [("x", None)]) == "/a"
    assert with_query("/a", b"x=1") == "/a?x=1"


def test_a_user_and_a_password_of_a_url_become_a_header() -> None:
    """Theirs is none of the row's names; a header of the request's own wins."""
    url, headers = without_credentials("http://a:b%2F@h:1/x?y", {"X": "1"})
    assert (url, headers) == ("http://h:1/x?y", {"Authorization": "Basic YTpiLw==", "X": "1"})
    assert without_credentials("http://h/@") == ("http://h/@", None)
    own = without_credentials("http://a@h/", {"authorization": "mine"})[1]
    assert b"Authorization: mine" in build_fields(Origin("http://h"), own or {}, "")


def test_a_header_that_is_none_is_left_out_and_a_body_is_read_from_where_it_is() -> None:
    fields = build_fields(Origin("http://h"), {"Accept": None, "X": b"\xfc"}, "")
    assert b"Accept:" not in fields
    assert b"X: \xfc\r\n" in fields
    with pytest.raises(ValueError, match="header Host"):
        build_fields(Origin("http://h"), {"Host": None}, "")
    pieces: list[bytes | str] = [b"a", "b"]
    body: Body
    for body in (io.BytesIO(b"ab"), io.StringIO("ab"), iter(pieces)):
        assert encode_body("POST", body, None) == (b"ab", "")


def test_codings_are_undone_within_a_bound() -> None:
    body = b"ok"
    for _ in range(5):
        body = gzip.compress(body)
    with pytest.raises(LoadtestError, match="5 codings"):
        decode(body, "gzip, " * 5, "/")
    with pytest.raises(LoadtestError, match="ends too early"):
        decode(b"\x28\xb5\x2f\xfd", "zstd", "/")


def test_zstd_is_undone_frame_by_frame_within_bounds() -> None:
    frames = zstd.compress(b"one") + zstd.compress(b"two")
    assert decode(frames, "zstd", "/") == b"onetwo"
    assert decode(gzip.compress(frames), "zstd, gzip", "/") == b"onetwo"
    for broken in (frames[:-1], frames + b"junk", b"junk"):
        with pytest.raises(LoadtestError, match="coding 'zstd' is broken"):
            decode(broken, "zstd", "/")
    bomb = zstd.compress(bytes(65 * 1024 * 1024))
    with pytest.raises(LoadtestError, match="when decoded"):
        decode(bomb, "zstd", "/")
    wide = {int(zstd.CompressionParameter.window_log): 27}
    far = zstd.compress(os.urandom(9 * 1024 * 1024), options=wide)
    with pytest.raises(LoadtestError, match="is broken"):
        decode(far, "zstd", "/")


def test_options_go_out_on_the_wire_and_a_pair_of_timeouts_counts() -> None:
    seen: list[bytes] = []

    def once(connection: Any, _: int) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)
        while True:  # and never answer
            read_request(connection)

    with ScriptServer(once) as server, client_of(server.url) as (client, samples):
        answer = client.get("/", auth=("a", "b"), cookies={"c": "1"}, timeout=(1, 5))
        assert 0 < answer.elapsed.total_seconds() * 1e3 <= answer.elapsed_ms + 0.001
        client.get("/", timeout=(1, 0.05))
    assert b"Authorization: Basic YTpi\r\n" in seen[0]
    assert b"Cookie: c=1\r\n" in seen[0]
    assert [sample.error for sample in samples] == ["", "read-timeout"]


SCENARIO = """
from loadtest import TTFBUser
class One(TTFBUser):
    def a(self, verify, redis):
        self.client.get("/", context={"a": 1})
        self.client.get("/", stream=True, verify=verify, cert=None)
        self.client.post(
            "/",
            verify=False,
            cert=("a", "b"),
        )
        redis.get("/", context={"a": 1})
"""


def test_what_cannot_be_is_told_with_its_line_before_any_load(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(SCENARIO)
    told = list(refused_calls(path, insecure=False))
    assert [sentence.partition(": ")[0].rpartition(" ")[2] for sentence in told] == ["5", "9", "10"]
    assert "client.insecure" in told[1]
    assert [f", line {n}" in told[0] for n in (5, 6)] == [True, False]
    theirs = list(refused_calls(path, insecure=True, of_locust=True))
    assert [sentence.partition(": ")[2][:6] for sentence in theirs] == ["cert=:"]


COMPUTED = """
import os
TRUST = False
FREE = {"cert": None, "verify": True}
WITH = {**FREE, "proxies": {"http": "x"}}
TWICE = False
TWICE = True
LATER = {"verify": False}
LATER["verify"] = True
class One(TTFBUser):
    OWN = {"verify": TRUST}
    def a(self, computed):
        client, other = self.client, self.redis
        http = self.client
        self.client.get("/", verify=TRUST)
        self.client.get("/", **FREE)
        self.client.get("/", **WITH)
        self.client.get("/", **self.OWN)
        self.client.get("/", **dict(hooks=computed))
        self.client.get("/", cert=computed())
        http.get("/", **{"verify": False})
        self.client.get("/", verify=TWICE, **LATER)
        self.client.get("/", verify=os.environ.get("X"), **computed)
        other.get("/", proxies={"a": 1})
"""


def test_names_that_are_bound_once_and_dictionaries_are_seen_through(tmp_path: Path) -> None:
    """An option is refused by its name, where its value could be any; what may hold is left."""
    path = tmp_path / "one.py"
    path.write_text(COMPUTED)
    told = [sentence.partition(", line ")[2] for sentence in refused_calls(path, insecure=False)]
    assert sorted(sentence.partition("=:")[0] for sentence in told) == [
        "11: verify", "15: verify", "19: hooks", "20: cert", "21: verify",
        "5: proxies",
    ]  # fmt: skip


def test_headers_and_auth_of_a_client_are_sent_from_then_on() -> None:
    seen: list[bytes] = []

    def handler(connection: Any, _: int) -> None:
        while True:
            seen.append(read_request(connection))
            connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url, headers={"X": "1"}) as (client, _):
        client.get("/")
        own = client.headers
        own["X"] = "2"
        client.auth = ("a", "b")
        client.get("/")
        own["Y"] = "3"
        client.auth = None
        client.get("/", headers={"X": "4"})
    words = (b"X: 1", b"X: 2", b"X: 4", b"Y: 3", b"Basic YTpi")
    assert [[word for word in words if word in request] for request in seen] == [
        [b"X: 1"],
        [b"X: 2", b"Basic YTpi"],
        [b"X: 4", b"Y: 3"],
    ]
