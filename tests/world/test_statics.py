"""Files that edges serve: which, from where, and that nothing else is ever read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtest.fly.config import parse_app_config
from loadtest.world.edge.http import RequestHead
from loadtest.world.edge.statics import MOST_BYTES, static_answer
from loadtest.world.edge.types import StaticFolder
from loadtest.world.machines.statics import static_folders


@pytest.fixture
def public(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("mine")
    folder = tmp_path / "app" / "public"
    (folder / "docs").mkdir(parents=True)
    (folder / "app.css").write_text("a{}")
    (folder / "a b.tar.gz").write_text("packed")
    (folder / "docs" / "index.html").write_text("<p>docs")
    (folder / "large").touch()
    os.truncate(folder / "large", MOST_BYTES + 1)
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "door").symlink_to(tmp_path)
    (folder / "same").symlink_to("app.css")
    os.mkfifo(folder / "pipe")
    return folder


def asked(target: str, *statics: StaticFolder, method: bytes = b"GET") -> tuple[str, bytes] | None:
    head = RequestHead(method, target.encode("latin-1"), "1.1", [], keep_alive=True)
    found = static_answer(statics, head, "syd")
    if found is None:
        return None
    answer, body = found
    assert (answer.status, answer.region) == (200, b"syd")
    headers = dict(answer.headers)
    assert headers[b"content-length"] == str(len(body)).encode()
    return headers[b"content-type"].decode(), body


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/static/app.css", ("text/css", b"a{}")),
        ("/static/app%2ecss?v=1", ("text/css", b"a{}")),
        ("/static/same", ("text/css", b"a{}")),
        ("/static/a%20b.tar.gz", ("application/octet-stream", b"packed")),
        ("/static/docs", ("text/html", b"<p>docs")),
        ("/static/docs/", ("text/html", b"<p>docs")),
    ],
)
def test_a_file_below_the_prefix_is_served(
    public: Path, target: str, answer: tuple[str, bytes]
) -> None:
    static = StaticFolder("/static", public, "index.html")
    assert asked(target, static) == answer
    assert asked(target, StaticFolder("/other", public), static, method=b"HEAD") is not None
    assert asked(target.removeprefix("/static"), StaticFolder("", public, "index.html")) is not None
    assert asked(target, static, method=b"POST") is None


@pytest.mark.parametrize(
    "target",
    [
        "/static", "/static/", "/staticapp.css", "/static/no", "/static/app.css/", "/static/docs/x",
        "/static/../secret", "/static/%2e%2e/%2e%2e/secret", "/static/docs/..%2f..%2f..%2fsecret",
        "/static/out", "/static/door/secret", "/static/door/app/public/../../secret",
        "/static//app.css", "/static/./app.css", "/static/app.css%00", "/static/%ff%fe",
        "/static/pipe", "/static/large", "/static/" + "x" * 5000, "*", "",
    ],
)  # fmt: skip
def test_everything_else_is_the_apps(public: Path, target: str) -> None:
    assert asked(target, StaticFolder("/static", public, "index.html")) is None
    assert asked("/docs", StaticFolder("", public)) is None


def test_an_image_has_them_where_it_says_and_a_folder_by_the_longest_end(public: Path) -> None:
    toml = (
        '[[statics]]\nguest_path = "/app/public/"\nurl_prefix = "static/"\nindex_document = "/i"\n'
        '[[statics]]\nguest_path = "/app/public/door"\nurl_prefix = "/"\n'
        '[[statics]]\nguest_path = "/app/../app/none"\nurl_prefix = "/"\n'
        '[[statics]]\nguest_path = "app/public"\nurl_prefix = "/b"\ntigris_bucket = "shop"\n'
    )
    config = parse_app_config(toml, Path("fly.toml")).machine_config("app", image="i")
    tree, folder = public.parents[1], public.parent
    (found,) = static_folders(config, folder, whole_image=False)
    assert found == StaticFolder("/static", public, "i")
    assert static_folders(config, tree, whole_image=True)[0] == found
    assert static_folders(config, public / "docs", whole_image=False) == ()
    (public / "door").unlink()
    (public / "door").symlink_to("/")
    assert static_folders(config, tree, whole_image=True) == (found,)
