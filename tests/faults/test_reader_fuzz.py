"""Whatever a reader is given, it gives a value or one of our sentences, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import command_line
import pytest
import synth
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutation import nearly, nearly_json

from loadtest.analysis.history import history, read_summary
from loadtest.analysis.load import load_run
from loadtest.analysis.summary import summarise
from loadtest.assets import data_file
from loadtest.cli_options import app_secrets_of
from loadtest.engine.wire import protocol
from loadtest.errors import LoadtestError
from loadtest.fly.config import read_app_config
from loadtest.gate.verdict import judge
from loadtest.plan.network import base_times_ms, round_trips
from loadtest.plan.order import parse_order
from loadtest.plan.resolve import load_judged_plan
from loadtest.records.folder import RunFolder
from loadtest.records.seal import seal
from loadtest.run import visit
from loadtest.run.conductor import RunConductor
from loadtest.run.recorded import write_scenario
from loadtest.run.run_world import fly_place
from loadtest.world.postgres.binaries import find_postgres
from loadtest.world.postgres.machine import MachineSettings

ROOT = Path(__file__).resolve().parents[2]
PLAN = (ROOT / "scenarios" / "latency-tables.toml").read_bytes()
FLY_TOML = (ROOT / "fly" / "recipes-multi" / "fly.toml").read_bytes()
RTT = b"from,to,rtt_ms,source\ncdg,ord,104.0,here\ncdg,syd,241.0,here\n"
BASE = b"region,base_ms\ncdg,1\nord,2\nsyd,3\n"

often = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
seldom = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def only_sentences() -> Iterator[None]:
    """Let our errors pass if they are a sentence for a person."""
    try:
        yield
    except LoadtestError as error:
        text = str(error)
        assert text.strip()
        assert "Traceback" not in text
        assert len(text) < 20_000, "a sentence, not the file"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(regions=("cdg", "ord"), thresholds=("ttfb.p50 < 10s",))
    folder = synth.write_run(tmp_path_factory.mktemp("stored") / "run", plan, seconds=8, seed=3)
    run = load_run(folder)
    summary = summarise(run)
    RunFolder(folder).save_json("summary.json", summary.judged("pass").to_json())
    return folder


def written(place: Path, name: str, data: bytes) -> Path:
    path = place / name
    path.write_bytes(data)
    return path


@given(nearly(PLAN))
@example(b"\xef\xbb\xbf" + PLAN)
@example(b"\xff" + PLAN)
@example(PLAN + b"\n[load]\nrate = inf\n")
@example(b"a = " + b"[" * 5_000)
@example(b"a = " + b"9" * 5_000)
@example(b"seed = 1\nseed = 1")
@example(b"regions = 1\nload = 2\ndeployments = [3]\n")
@often
def test_a_plan(place: Path, data: bytes) -> None:
    path = written(place, "plan.toml", data)
    for flags in ({}, {"regions": ["cdg", "ord"], "load.rate": 1.0, "deployments": ["multi"]}):
        with only_sentences():
            load_judged_plan(str(path), flags)


@given(nearly(RTT))
@example(b"\xef\xbb\xbf" + RTT)
@example(RTT.replace(b"104.0", b"nan"))
@example(RTT.replace(b"104.0", b"inf"))
@example(RTT.replace(b"\n", b"\r"))
@example(b"from,to,rtt_ms\n" + b"x" * 200_000 + b",a,1\n")
@often
def test_a_table_of_round_trips(place: Path, data: bytes) -> None:
    path = written(place, "rtt.csv", data)
    with only_sentences():
        found = round_trips(str(path), ["cdg", "ord", "syd"], {"ord-syd": 1.0})
        assert all(0 <= value <= 5_000 for value in found.rtt_ms.values())


@given(nearly(BASE))
@example(b"\xef\xbb\xbf" + BASE)
@example(BASE.replace(b"2", b"nan"))
@example(BASE.replace(b"2", b"-2"))
@example(BASE.replace(b"2", b"inf"))
@often
def test_a_table_of_base_times(place: Path, data: bytes) -> None:
    path = written(place, "base.csv", data)
    with only_sentences():
        found = base_times_ms(str(path), ["cdg", "ord", "syd"])
        assert all(0 <= value <= 5_000 for value in found.values())


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1", "1e9", "", ".", "\x00", "\ud800", "x" * 5_000]
)
def test_a_base_time_that_is_none(text: str) -> None:
    with pytest.raises(LoadtestError, match="base"):
        base_times_ms(text, ["cdg"])


@pytest.mark.parametrize("text", ["", ".", "\x00", "\ud800", "x" * 5_000, "/"])
def test_a_set_of_round_trips_that_is_none(text: str) -> None:
    with pytest.raises(LoadtestError, match=r"network\.rtt"):
        round_trips(text, ["cdg", "ord"], {})


@given(nearly(FLY_TOML))
@example(b"\xef\xbb\xbf" + FLY_TOML)
@example(b"\xff" + FLY_TOML)
@example(b"app = " + b"[" * 5_000)
@example(b"kill_timeout = " + b"9" * 5_000)
@often
def test_a_fly_toml(place: Path, data: bytes) -> None:
    with only_sentences():
        read_app_config(written(place, "fly.toml", data))


def outcome(folder: Path) -> str:
    """Return the word on a folder; refusals are sentences."""
    with only_sentences():
        run = load_run(folder)
        return judge(run, summarise(run)).decision
    return "refused"


def bent(stored: Path, place: Path, name: str, data: bytes, *, sealed: bool) -> Path:
    """Return a copy of the run with other content in one file."""
    folder = place / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stored, folder)
    (folder / name).write_bytes(data)
    if sealed:
        seal(folder, "by hand")
    return folder


@pytest.mark.parametrize("name", ["plan.json", "world.json", "engine.json"])
@given(data=st.data())
@often
def test_an_account_with_odd_values(
    stored: Path, place: Path, name: str, data: st.DataObject
) -> None:
    content = data.draw(nearly_json(json.loads((stored / name).read_text())))
    outcome(bent(stored, place, name, json.dumps(content).encode(), sealed=True))


def says_the_same(content: bytes, whole: bytes) -> bool:
    """Tell whether only space between the words differs: that is no fault of a seal."""
    try:
        return bool(json.loads(content) == json.loads(whole))
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize(
    "name", ["plan.json", "world.json", "engine.json", "manifest.json", "records.parquet"]
)
@given(data=st.data())
@seldom
def test_a_file_with_odd_bytes(stored: Path, place: Path, name: str, data: st.DataObject) -> None:
    """Sealed again, so that not the seal but the reader has to cope."""
    whole = (stored / name).read_bytes()
    content = data.draw(nearly(whole))
    folder = bent(stored, place, name, content, sealed=name != "manifest.json")
    word = outcome(folder)
    if name == "manifest.json" and not says_the_same(content, whole):
        assert word in ("refused", "invalid")


@given(data=st.data())
@often
def test_a_summary_in_a_history(stored: Path, data: st.DataObject) -> None:
    whole = json.loads((stored / "summary.json").read_text())
    content = data.draw(nearly_json(whole))
    with only_sentences():
        history([read_summary(told) for told in (whole, content, whole)])


ODD_FILES = [
    *(b"", b"\xff", b"[]", b"{}", b"null", b"[" * 100_000, b'{"schema": NaN}', b"9" * 5_000),
    *(b'{"schema": 1}', b'{"schema": "1"}', b'{"schema": [1]}', b"\xef\xbb\xbf{}"),
]


@pytest.mark.parametrize("data", ODD_FILES)
@pytest.mark.parametrize("command", ["gate", "analyze", "compare", "history", "seal", "report"])
def test_every_command_that_reads_a_run_tells_one_sentence(
    stored: Path, tmp_path: Path, command: str, data: bytes
) -> None:
    name = "summary.json" if command == "history" else "plan.json"
    folder = str(bent(stored, tmp_path, name, data, sealed=True))
    more = {"compare": [folder, str(stored)], "history": [str(tmp_path)]}
    told = command_line.run(command, *more.get(command, [folder]))
    assert told.code == (0 if command == "seal" else 12)
    assert (told.out if command == "seal" else told.err).strip()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfseed = 'x'",
        b"\xff",
        b"a = [" * 3_000,
        b"regions = nan",
        b"x = " + b"9" * 5_000,
    ],
)
@pytest.mark.parametrize("words", [["run"], ["world", "up"]])
def test_every_command_that_reads_a_plan_tells_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, words: list[str]
) -> None:
    monkeypatch.setattr(RunConductor, "run", nothing_is_started)
    monkeypatch.setattr(visit, "stay", nothing_is_started)
    monkeypatch.chdir(tmp_path)
    told = command_line.run(*words, str(written(tmp_path, "plan.toml", data)))
    assert told.code == 13
    assert told.err.strip()


def nothing_is_started(*_: Any, **__: Any) -> None:
    raise AssertionError("a plan that is none was run")


@pytest.mark.parametrize("out", ["", ".", "file", "file/run", "theirs", "x" * 5_000])
def test_a_place_for_a_run_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "plan.json").write_text("{}")
    monkeypatch.setattr(RunConductor, "run", nothing_is_started)
    told = command_line.run("run", "--out", out)
    assert told.code == 13, told
    assert "--out" in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "theirs"]


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
odd_texts = st.one_of(
    texts,
    st.sampled_from(
        ["", "0", "-1", "1", "nan", "inf", "1e9", "99999", "²", "٣", "fdaa::/16", ":", ":5", "a:b",
         "a:99999", "http://", "http://[", "http://a:b", "http://127.0.0.1:9", "ftp://x", "/",
         "x" * 300, "a\nb", "é", "*", "cdg"]
    ),
)  # fmt: skip
DATABASE = ("FLY_REGION", "PRIMARY_REGION", "OPERATOR_PASSWORD", "REPL_PASSWORD", "PG_PORT",
            "CHECK_PORT", "PRIMARY_ADDRESS", "FLY_APP_NAME", "ALLOWED", "LISTEN")  # fmt: skip


@given(st.dictionaries(st.sampled_from(DATABASE), odd_texts))
@often
def test_the_environment_of_a_database_machine(environ: dict[str, str]) -> None:
    with only_sentences():
        found = MachineSettings.from_environ(environ)
        assert 0 < found.port < 65_536
        assert 0 < found.primary[1] < 65_536


@given(odd_texts)
@often
def test_the_environment_of_coordinator_and_worker(text: str) -> None:
    environment = {"X": text}
    calls: list[Callable[[], Any]] = [
        lambda: protocol.seconds("X", 1.0, environment),
        lambda: protocol.split_address("X", text),
        lambda: protocol.port_number("X", text),
        lambda: protocol.log_level("X", environment),
    ]
    for call in calls:
        with only_sentences():
            call()
    with only_sentences():
        protocol.curve_keys("SERVER", dict.fromkeys(
            (f"LOADTEST_CURVE_{n}" for n in ("SERVER_PUBLIC", "CLIENT_PUBLIC", "SERVER_SECRET")),
            text,
        ))  # fmt: skip


@given(odd_texts, odd_texts)
@often
def test_the_environment_that_names_a_place(url: str, token: str) -> None:
    """Where the address is loopback's, somebody is asked who is not there."""
    with (
        mock.patch.dict(os.environ, {"FLY_FLAPS_BASE_URL": url, "FLY_API_TOKEN": token}),
        only_sentences(),
        fly_place(),
    ):
        pass


@given(odd_texts)
@often
def test_the_environment_that_names_a_server(text: str) -> None:
    with only_sentences():
        find_postgres(environ={"LOADTEST_POSTGRES_BIN": text})


@given(nearly(b"# mine\nexport A=1\nB='two'\nC = \"3\"\n"))
@example(b"\xff\xfeA\x00=\x00")
@often
def test_a_file_of_environment(place: Path, data: bytes) -> None:
    path = written(place, "env", data)
    with only_sentences():
        app_secrets_of({"app_env_files": (str(path),), "app_env": (), "app_secret_names": ()})


CURL = b"""curl 'https://shop.test/recipes?city=Lyon' -H 'Cookie: a=b' --compressed
$ curl -X POST https://shop.test/cart -H "Content-Type: text/plain" \\
  --data-raw 'it'\\''s' -u me:secret
"""
ASKED = {"method": "POST", "url": "https://shop.test/r?x=1",
         "headers": [{"name": "Accept", "value": "a"}],
         "postData": {"mimeType": "text/plain", "text": "a", "encoding": "base64"}}  # fmt: skip
ANSWERED = {"status": 200, "content": {"mimeType": "text/html"}}
HAR = {"log": {"version": "1.2", "entries": [{"request": ASKED, "response": ANSWERED}]}}
CITY = {"name": "city", "in": "path", "required": True, "schema": {"enum": ["Lyon"]}}
OPENAPI = {"openapi": "3.1.0", "servers": [{"url": "https://shop.test/api"}],
           "components": {"parameters": {"city": CITY}},
           "paths": {"/in/{city}": {"get": {"parameters": [
               {"$ref": "#/components/parameters/city"}]}}, "/h": {"get": {}}}}  # fmt: skip
LONG = b"curl https://shop.test/"


@given(
    st.one_of(
        nearly(CURL),
        nearly(json.dumps(HAR).encode()),
        nearly_json(HAR).map(lambda har: json.dumps(har).encode()),
        nearly_json(OPENAPI).map(lambda document: json.dumps(document).encode()),
    )
)
@example(LONG + b"x" * 5_000_000)
@example((LONG + b"x" * 1_000 + b"\n") * 10_000)
@example(LONG + b'\'"""\n    import os\'')
@example(b'{"log":' + b"[" * 100_000)
@often
def test_what_somebody_recorded(place: Path, data: bytes) -> None:
    """What is written of it is Python, and asks nothing else than the recording does."""
    path, folder = written(place, "recorded", data), place / "scenarios"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with only_sentences():
        made = write_scenario(path, folder)
        tree = ast.parse(made.path.read_text(encoding="utf-8"))
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert all(name == "task" or name.startswith("self.client.") for name in called)
        imported = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert len(imported) == 2


@given(st.one_of(st.sampled_from([None, 1, "x", [], {}]), nearly_json(
    {"schema": 1, "run_id": "r", "segment": 0, "first_block": 0, "plan": {"regions": ["cdg"]},
     "targets": {"cdg": {"a": {"url": "http://a"}}}}
)))  # fmt: skip
@often
def test_an_order(value: Any) -> None:
    with only_sentences():
        parse_order(value)


def test_the_tables_that_come_along_can_be_read() -> None:
    for name in ("rtt.csv", "rtt-published-era.csv"):
        assert round_trips(str(data_file(name)), ["cdg", "ord"], {}).rtt_ms
