"""Every key of fly.toml has its row in the documentation, and what does nothing is told once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import parse_app_config
from loadtest.fly.config_keys import KEYS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fly-toml.md"
ROW = re.compile(r"^\| `(?P<path>[^`]+)` \| (?P<fate>[^|]+) \|(?P<why>[^|]*)\|$", re.MULTILINE)


def parse(text: str) -> AppConfig:
    return parse_app_config(text, Path("fly.toml"))


def test_the_documentation_has_each_key_with_its_fate_and_reason() -> None:
    rows = [
        (m["path"], m["fate"].strip(), m["why"].strip()) for m in ROW.finditer(PAGE.read_text())
    ]
    assert sorted(rows) == sorted((key.path, key.fate, key.why) for key in KEYS)
    assert len({path for path, _, _ in rows}) == len(rows)


@pytest.mark.parametrize("key", [key for key in KEYS if key.fate != "honoured"], ids=str)
def test_what_is_not_honoured_has_a_reason(key: object) -> None:
    assert getattr(key, "why", "")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("prots = 1", "prots: not a key of fly.toml, so it does nothing"),
        (
            "[http_service]\nauto_stop_machine = true",
            "http_service.auto_stop_machine: not a key of fly.toml, so it does nothing; did you "
            "mean auto_stop_machines?",
        ),
        (
            "min_machines_running = 1",
            "min_machines_running: not a key of fly.toml, so it does nothing; it is a key "
            "elsewhere: http_service.min_machines_running",
        ),
        (
            "[[services]]\n[[services.tcp_checks]]\nrestart_limit = 6",
            "services.tcp_checks.restart_limit: does nothing: Fly gave it up with Nomad",
        ),
        (
            "[experimental]\nallowed_public_ports = []",
            "experimental.allowed_public_ports: does nothing: Fly gave it up with Nomad",
        ),
        (
            "[[checks]]\nname = 'up'\ntype = 'tcp'\nport = 80\nretries = 1",
            "checks.up.retries: not a key of fly.toml, so it does nothing; it is a key elsewhere: "
            "restart.retries",
        ),
        (
            "[[compute]]\nsise = 'a'",
            "compute.sise: not a key of fly.toml, so it does nothing; did you mean size?",
        ),
        (
            '[[vm]]\nprocesses = ["web"]',
            'vm.processes: group "web" is not defined, so this holds for no machine; '
            "there are: app",
        ),
    ],
)
def test_what_does_nothing_is_told_with_the_nearest_key(text: str, note: str) -> None:
    assert parse(text).notes == (note,)


def test_a_key_is_told_once_however_often_it_is_there() -> None:
    check = "[[services.tcp_checks]]\nrestart_limit = 0\n"
    config = parse(f"[[services]]\ninternal_port = 80\n{check}{check}[[services]]\nx = 1\n{check}")
    assert config.unknown == ("services.tcp_checks.restart_limit", "services.x")
    assert len(config.notes) == 2


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("[http_service.http_options]\ncompress = true", ["http_service.http_options.compress"]),
        ("[http_service.http_options.response]\npristine = true\nheaders = { a = 'b' }", []),
        (
            "[[services]]\n[[services.ports]]\nport = 80\n"
            "[[services.ports.http_options.replay_cache]]\nname = 'a'\nttl_seconds = 9",
            [],
        ),
        ("[[statics]]\nguest_path = '/a'\nurl_prefix = '/b'", []),
        ("[[statics]]\nguest_path = '/a'\nurl_prefix = '/b'\ntigris_bucket = 'c'", ["statics"]),
        ("build.compose.file = 'compose.yml'", ["build.compose.file"]),
        ("swap_size_mb = 512\n[metrics]\nport = 9091\npath = '/m'", []),
    ],
)
def test_what_a_visitor_gets_on_fly_alone_is_told_for_the_embedded_world(
    text: str, keys: list[str]
) -> None:
    config = parse(text)
    assert [note.partition(": has no effect here: ")[0] for note in config.embedded_notes] == keys
    assert config.notes == ()
    assert config.folder_notes == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "[[files]]\nguest_path = '/a'\nraw_value = 'b'",
            "files: works in an image; an app in its folder finds this computer's own file of "
            "that name",
        ),
        (
            "[mount]\nsource = 'a'\ndestination = '/b'",
            "mount: works in an image, as an empty folder; an app in its folder finds this "
            "computer's own",
        ),
    ],
)
def test_what_works_in_an_image_alone_is_told_of_an_app_in_its_folder(text: str, note: str) -> None:
    config = parse(text)
    assert (config.folder_notes, config.embedded_notes) == ((note,), ())
