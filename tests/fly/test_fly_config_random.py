"""Whatever a fly.toml holds, it gives a config or sentences for a person, and nothing else."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.errors import LoadtestError, PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import parse_app_config, read_app_config
from loadtest.fly.config_keys import ANY, KEYS
from loadtest.fly.machines import MachineConfig

ROOT = Path(__file__).resolve().parents[2]
PYTHON = re.compile(
    r"NoneType|\bdict\b|\btuple\b|\bint\(|object has|object is|unhashable|argument|Traceback"
    r"|<class|'str'|\bstr\b|subscript|Errno|codec|Error\b"
)
WORDS = sorted({word for key in KEYS for word in key.path.split(".")} - {ANY})

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
likely = st.sampled_from(
    [
        *("", "app", "tcp", "http", "off", "10s", "1m30s", "5", "1gb", "l40s", "always", "/a"),
        *(True, False, 0, 1, 80, 8080, 10_000, 2.5),
        *([], ["app"], ["a", "b c"]),
    ]
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    text,
    st.datetimes(),
    likely,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), text), inner, max_size=4),
    ),
    max_leaves=6,
)


def toml(value: Any) -> str:
    """Write a value as TOML, tables in braces."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file of known keys at the places where they belong, with values of every kind."""
    data: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=8)):
        *parents, last = (draw(text) if word == ANY else word for word in key.path.split("."))
        table = data
        for parent in parents:
            inner = table.setdefault(parent, {})
            if not isinstance(inner, dict):
                break
            table = inner
        else:
            table[last] = draw(st.one_of(likely, likely, values))
    top = draw(st.sampled_from(sorted({key.path.split(".")[0] for key in KEYS})))
    if draw(st.integers(0, 9)) == 0:
        data[top] = draw(values)
    return "\n".join(f"{toml(key)} = {toml(value)}" for key, value in data.items())


def sentences_of(text: str) -> tuple[str, ...] | AppConfig:
    """Return what is read, or what is told instead."""
    try:
        return parse_app_config(text, Path("fly.toml"))
    except PlanError as error:
        return error.faults


def read(text: str) -> None:
    """Read a file and make machines of it; what is refused is refused in sentences."""
    config = sentences_of(text)
    if isinstance(config, tuple):
        assert config
        for fault in config:
            assert fault.startswith("fly.toml: ")
            assert "\n" not in fault
            assert not PYTHON.search(re.sub(r'"[^"]*"|[\w.-]*:', "", fault)), fault
        return
    for group in config.processes:
        try:
            made = config.machine_config(group, image="i")
        except LoadtestError:
            continue
        assert MachineConfig.from_json(json.loads(json.dumps(made.to_json()))).cmd == made.cmd
    assert all("\n" not in note for note in (*config.notes, *config.embedded_notes))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_known_keys_with_values_of_every_kind(text: str) -> None:
    read(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    read(text)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted((ROOT / "fly").glob("*/fly.toml"))),
    st.integers(0, 2_000),
    st.integers(0, 40),
    st.sampled_from(["", "]", '"', "\n[", "\n[[vm]]\n", " = 3\n", "[[[", "\x00", "é", "\n[env]\n"]),
)
def test_a_good_file_with_a_piece_replaced(path: Path, at: int, length: int, piece: str) -> None:
    good = path.read_text(encoding="utf-8")
    read(good[:at] + piece + good[at + length :])


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5_000 + "]" * 5_000,
        "a = " + "9" * 5_000,
        "[env]\na = 0x" + "f" * 9_000,
        "a." * 5_000 + "b = 1",
    ],
    ids=["lists", "digits", "hexadecimal", "dots"],
)
def test_what_is_too_deep_or_too_long_is_one_sentence(text: str) -> None:
    read(text)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"app = '\xff'", "not UTF-8 at byte 7; save it as UTF-8"),
        (b"app = ", "not TOML: "),
        (b"a = 99999999999999999999", "a: a number beyond 64 bits; write it in quotes"),
    ],
)
def test_a_file_that_is_no_toml_is_told_so(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "fly.toml").write_bytes(content)
    with pytest.raises(PlanError, match=re.escape(told)):
        read_app_config(tmp_path / "fly.toml")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_bytes(b'\xef\xbb\xbfapp = "a"\r\n')
    assert read_app_config(tmp_path / "fly.toml").name == "a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("app = 3", "app: 3 is not text; write it in quotes"),
        ("app = 'a\\u0007'", None),
        ('app = "a\\u0007"', "app: "),
        ("env = 3", "env: 3 where tables are wanted; write [[env]]"),
        ("env.A.B = '\\'\nenv.'X=Y' = 1", "env.X=Y: no name of a variable"),
        ('[env]\nA = "\\u0000"', "env.A: its value has a zero byte in it"),
        ("services = [1]", "services: a list where tables are wanted; write [[services]]"),
        (
            "[[http_service]]\n[[http_service]]",
            "http_service: a list where a table is wanted; write [http_service], once",
        ),
        ("processes = 'web'", 'processes: "web" where a table is wanted; write [processes], once'),
        ("[processes]\nweb = ['a']", "processes.web: a list is not a command; write it in quotes"),
        (
            "[http_service]\nprocesses = 'web'",
            'http_service.processes: "web" is not a list of names; write ["web"]',
        ),
        (
            "[[services]]\n[[services]]\ninternal_port = true",
            "services[1].internal_port: true is not a port, 1 to 65535",
        ),
        (
            "[http_service]\nauto_stop_machines = 'never'",
            'http_service.auto_stop_machines: "never" is not one of off, stop, suspend',
        ),
        (
            "[http_service]\nforce_https = 'yes'",
            'http_service.force_https: "yes" is neither true nor false',
        ),
        (
            "[[services]]\nconcurrency = '12'",
            'services.concurrency: "12" is not a soft and a hard limit; write a table '
            "[services.concurrency] with soft_limit and hard_limit",
        ),
        (
            "[http_service.concurrency]\ntype = 'donuts'",
            'http_service.concurrency.type: "donuts" is not one of connections, requests',
        ),
        (
            "[http_service]\n[[http_service.checks]]\ninterval = 'soon'",
            'http_service.checks.interval: "soon" is not a duration; write "15s", "1m30s" or',
        ),
        (
            "[http_service]\n[[http_service.checks]]\npath = '/a b'",
            'http_service.checks.path: "/a b" cannot stand in a request; write %20',
        ),
        ("[checks.up]\nport = 80", "checks.up.type: missing; what is allowed is http or tcp"),
        ("[checks.up]\ntype = 'tcp'", "checks.up.port: missing, and its process group has no"),
        (
            "[checks.up]\ntype = 'tcp'\nport = 80\ninterval = 1000",
            "checks.up.interval: 1000 is short of 2s; write 2s",
        ),
        ("[[checks]]\ntype = 'tcp'\nport = 80", 'checks.name: missing; write name = "alive"'),
        ("[[vm]]\nsize = 'shared-cpu-3x'", 'vm.size: "shared-cpu-3x" is not one of'),
        ("[[vm]]\nmemory = 'lots'", 'vm.memory: "lots" is no size; write "512mb" or "1gb"'),
        ("[[vm]]\nmemory = 0", 'vm.memory: "0" is no size'),
        ("[mounts]\nsource = 'd'", 'mounts.destination: missing; write destination = "/data"'),
        (
            "[mounts]\nsource = 'd'\ndestination = '/d'\ninitial_size = '500mb'",
            'mounts.initial_size: "500mb" is no size of 1 GB or more',
        ),
        ("[[restart]]", "restart.policy: missing; what is allowed is always, never or on-failure"),
        ("[[files]]\nguest_path = 'a'", 'files.guest_path: "a"; write a path from the root'),
        (
            "[experimental]\nmetrics_port = 'x'",
            'experimental.metrics_port: "x" is not a port, 1 to 65535',
        ),
        (
            "[http_service]\nprocesses = ['app', 2]",
            "http_service.processes: 2 in the list is not text; write it in quotes",
        ),
        ("[experimental]\ncmd = [1]", "experimental.cmd: a list is neither text nor a list of"),
        (
            "[processes]\nweb = 'w'\n[[services]]\nprocesses = ['app']",
            'services.processes: group "app" is not defined; there are: web',
        ),
    ],
)
def test_a_value_of_no_use_is_told_with_its_key_and_the_cure(text: str, told: str | None) -> None:
    if told is None:
        assert parse_app_config(text, Path("fly.toml")).name == "a\\u0007"
        return
    with pytest.raises(PlanError) as caught:
        parse_app_config(text, Path("fly.toml"))
    assert any(fault.startswith(f"fly.toml: {told}") for fault in caught.value.faults)


def test_a_file_of_this_computer_is_read_from_beside_fly_toml(tmp_path: Path) -> None:
    text = "[[files]]\nguest_path = '/etc/a'\nlocal_path = 'a.conf'\n"
    config = parse_app_config(text, tmp_path / "fly.toml")
    with pytest.raises(PlanError, match=r"local_path: .*a\.conf is no file; paths begin in the f"):
        config.machine_config("app", image="i")
    (tmp_path / "a.conf").write_bytes(b"hello")
    assert config.machine_config("app", image="i").files[0].content == "aGVsbG8="
    (tmp_path / "a.conf").write_bytes(bytes(1_048_577))
    with pytest.raises(PlanError, match="is larger than 1 MiB"):
        config.machine_config("app", image="i")
