"""Mistakes of who begins: each is answered by a sentence with the cure, and by exit code 13."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
import pytest

from loadtest import cli as program
from loadtest.assets import find_asset
from loadtest.cli_live import LiveCommand, live_option
from loadtest.cli_words import seconds
from loadtest.errors import EXIT_PLAN, PlanError
from loadtest.plan.idle import idle_flags
from loadtest.plan.resolve import load_plan, url_plan
from loadtest.run.carrying import refuse_too_short

URL = "http://127.0.0.1:9"
PLAN = 'schema = 1\nname = "x"\nregions = {regions}\nprimary_region = "cdg"\n{more}\n'
FILES = {
    "listless.toml": PLAN.format(regions='"cdg"', more=""),
    "odd.toml": PLAN.format(regions='["cdg"]', more="zzqqx = 3"),
    "plan.yaml": "name: x\n",
    "scenario.py": "from locust import HttpUser, task\n",
    "curl.txt": f"curl {URL}/a\n",
    "api.json": json.dumps({"paths": {"/a": {"get": {}}}}),
}
RUN = [
    (["--rate", "-1", "--looks", "99"], "load.rate: -1.0 is not allowed"),
    (["--looks", "99", "--rate", "-1"], "gate.max_looks: 99 is not allowed"),
    (["--regions", ""], "--regions: '' names none; leave the flag out for all"),
    (["listless.toml"], "regions: 'cdg' is not allowed: want a list"),
    (["odd.toml"], "zzqqx: unknown key; allowed here: base, "),
    (["wide.toml"], "wide.toml: is not UTF-8 (byte 0); save it as UTF-8"),
    (["folder"], "'folder' is a folder; give the path of a TOML plan"),
    (["scenario.py"], "'scenario.py' is Python, not a plan; a locustfile runs by -f scenario.py"),
    (["plan.yaml"], "'plan.yaml' is YAML; a plan is TOML"),
    ([URL, "--path", "about"], "--path: 'about' does not begin with /; write /about"),
    ([URL, "--path", ""], "--path: '' names no page; write /"),
    ([URL, "--path", "/a b"], "holds a blank; write it as %20"),
    ([URL, "--path", "http://other/x"], "is a URL; a path begins with /"),
    ([URL, "--regions", "cdg"], "add --at REGION"),
    ([URL, "--at", ""], "--at: '' is not one region; write one, such as cdg"),
    ([URL, "--at", "cdg,ord"], "--at: 'cdg,ord' is not one region"),
    ([URL, "--image", "x"], "--image: goes with --world fly"),
    (["http://me:word@:80/"], "URL: 'http://:80' has no host; write http://HOST[:PORT]"),
    (["http://:80"], "URL: 'http://:80' has no host"),
    ([URL, "plan.toml"], "'plan.toml' is a file beside a URL: give a plan or URLs, not both"),
    (
        [URL, "--scenario", "folder"],
        "scenario: 'folder' is a folder; name a file.py with TTFB",
    ),
    (
        [URL, "--scenario", "plan.yaml"],
        "scenario: 'plan.yaml' is no Python file; name a file.py",
    ),
    ([URL, "--scenario", ""], "--scenario: '' names no file or folder; leave it out, or name one"),
    ([URL, "--ca-file", ""], "--ca-file: '' names no file or folder"),
    (["-f", ""], "-f: '' names no file or folder"),
    (["--from", ""], "--from: '' names no file or folder"),
    ([URL, "--env-file", ""], "--env-file: '' names no file or folder"),
    ([URL, "--env", ""], "--env: what was given is not K=V with K a name such as SECRET_KEY"),
    ([URL, "--secret", ""], "--secret: '' is not set in the environment"),
    ([URL, "--duration", "1m 2h"], "--duration: '1m 2h' is no time"),
    ([URL, "--duration", "30s30"], "--duration: '30s30' is no time"),
    (
        [URL, "--threshold", "ttfb.p95 < 3s where region = cdg"],
        "there is no region 'cdg' in the plan; it has here",
    ),
    ([URL, "--duration", "6x"], "--duration: '6x' is no time; write 30, 30s, 2m or 1h"),
    (
        [URL, "--duration", "3", "--threshold", "ttfb.p95 < 300ms"],
        "p95 needs 100 requests in a cell, and 5 a second for 3 s, 5 times at most, are 75; give "
        "--duration 12 or more, or a higher --rate",
    ),
    (["--duration", "6s", "--looks", "1"], "are 36; give --duration 59 or more"),
    (["-f", "scenario.py", URL], f"{URL} is the target of a locustfile: write --host {URL}"),
    (["-f", "folder", "-H", URL], "locustfile 'folder': is a folder; name one file of it"),
    (["--from", "folder"], "--from folder: cannot be read: Is a directory"),
    (["--from", "gone.har"], "--from gone.har: cannot be read: No such file or directory"),
    (["--from", "plan.yaml"], "is neither curl command lines, a HAR file nor an OpenAPI document"),
    (["--from", "api.json"], "give the target as a URL on the command line"),
    (["--from", "curl.txt", "plan.toml"], "--from makes a scenario for URLs; a plan names its own"),
    (["--from", "curl.txt", f"{URL}/b"], f"so the target is a URL without one: {URL}"),
]


def said(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    """Return the exit code and what was printed, on one line."""
    monkeypatch.setattr(sys, "argv", ["loadtest", *words])
    with pytest.raises(SystemExit) as caught:
        program.main()
    return caught.value.code, " ".join(capsys.readouterr().err.split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, changed to, with files that somebody takes for plans."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "wide.toml").write_text("schema = 1\n", encoding="utf-16")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(("words", "told"), RUN, ids=[" ".join(case[0]) for case in RUN])
def test_a_mistake_is_a_sentence_with_the_cure(
    words: list[str],
    told: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(place.iterdir())
    code, printed = said(["run", *words], monkeypatch, capsys)
    assert (code, told in printed) == (EXIT_PLAN, True), printed
    assert "Traceback" not in printed
    assert "[Errno" not in printed
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "--out", ""],
        ["report", "--share", ""],
        ["report", ""],
        ["history", "", "--out", "x"],
    ],
)
def test_a_path_of_a_variable_that_is_not_set_names_nothing(
    words: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(place.iterdir())
    code, printed = said(words, monkeypatch, capsys)
    assert (code, "'' names no file or folder" in printed) == (EXIT_PLAN, True), printed
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    ("word", "s"), [("90", 90.0), ("1m30s", 90.0), ("1h 5 min", 3900.0), ("2.5S", 2.5)]
)
def test_a_time_is_read_as_people_write_it(word: str, s: float) -> None:
    option = click.Option(["--duration"])
    assert seconds(click.Context(click.Command("run")), option, word) == s


def test_a_number_behind_live_is_its_port() -> None:
    @click.command(cls=LiveCommand)
    @click.argument("what", nargs=-1)
    @live_option
    def run(**options: object) -> object:
        return options

    def read(*words: str) -> object:
        return run.main(list(words), standalone_mode=False)

    assert read("--live", "8799", "x.toml") == {"what": ("x.toml",), "live": 8799}
    assert read("--live", "x.toml") == {"what": ("x.toml",), "live": 0}
    assert read("--live=7", "8") == {"what": ("8",), "live": 7}
    assert read("8") == {"what": ("8",), "live": None}


@pytest.mark.parametrize("rest", [[], ["--candidate", ""]], ids=["alone", "empty variable"])
def test_a_gate_of_one_url_asks_for_the_other(
    rest: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, printed = said(["gate", "--base", "http://me:pw@a.example", *rest], monkeypatch, capsys)
    assert code == EXIT_PLAN
    assert "http://...@a.example is a running deployment" in printed
    assert "name that with --candidate URL" in printed
    assert "pw" not in printed


def test_a_gate_outside_of_a_repository_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "fly.toml").write_text('app = "shop"\n')
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    code, printed = said(["gate", "--base", "HEAD"], monkeypatch, capsys)
    assert code == EXIT_PLAN
    assert "no git repository" in printed or "not a git repository" in printed


def test_a_document_without_a_server_is_asked_of_the_url_beside_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", "api.json", URL, "--regions", "cdg"]
    code, printed = said(["run", *words], monkeypatch, capsys)
    assert code == EXIT_PLAN  # for the region; the scenario stands by then
    assert "written for editing: api_scenario.py" in printed
    assert "'/a'" in (place / "api_scenario.py").read_text()


def test_another_target_than_the_recorded_one_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", "curl.txt", "http://localhost:8", "--regions", "cdg"]
    _, printed = said(["run", *words], monkeypatch, capsys)
    assert f"asked of http://localhost:8 in place of {URL}" in printed


def test_a_rule_is_refused_only_where_it_can_never_be_carried() -> None:
    flags = {"thresholds": ["ttfb.p95 < 300ms"], "load.duration_s": 7.0}
    refuse_too_short(url_plan([URL], "", flags))
    refuse_too_short(url_plan([URL], "", {"load.duration_s": 1.0}))
    mean = {"thresholds": ["ttfb.mean < 300ms"], "load.duration_s": 4.0}
    refuse_too_short(url_plan([URL], "", mean))
    with pytest.raises(PlanError, match="12 blocks of 1 s, and 2 s, 5 times at most, hold fewer"):
        refuse_too_short(url_plan([URL], "", {**mean, "load.duration_s": 2.0}))
    shares = {"thresholds": ["errors < 1%"], "load.duration_s": 1.0}
    refuse_too_short(url_plan([URL], "", shares))
    pooled = {**flags, "load.duration_s": 4.0, "regions": ["cdg", "syd"]}
    pooled["thresholds"] = ["ttfb.p95 < 300ms pooled"]
    refuse_too_short(url_plan([URL], "cdg", pooled))
    refuse_too_short(load_plan())
    with pytest.raises(PlanError, match="p99 needs"):
        refuse_too_short(url_plan([URL], "", {"thresholds": ["ttfb.p99 < 300ms"]}))


def test_flags_without_a_use_are_told_by_kind() -> None:
    plan = url_plan([URL], "", {})
    typed = {"--env", "--redis", "--rtt", "--budget", "--yes", "--threshold"}
    assert idle_flags(plan, typed) == [
        "--budget, --yes: no effect here: nothing is ordered from Fly; they go with --world fly",
        "--env, --redis: no effect here: no app is started, a URL runs already",
        "--rtt: no effect here: no distance is emulated; they go with --at",
    ]
    assert idle_flags(url_plan([URL], "cdg", {}), {"--rtt", "--layer"}) == []
    assert idle_flags(load_plan(), {"--env", "--redis", "--rtt"}) == []
    far = url_plan([URL], "", {"world": "fly", "regions": ["cdg"]})
    assert idle_flags(far, {"--image", "--budget"}) == []


def test_flags_of_a_gate_that_leave_no_rule_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = find_asset("scenarios/gate.toml")
    assert plan is not None
    rules = '["ttfb.p50 within 5% of baseline where region = ord"]'
    text = re.sub(r"(?s)thresholds = \[.*?\n\]", f"thresholds = {rules}", plan.read_text())
    (place / "mine.toml").write_text(text)
    urls = ("--base", "http://127.0.0.1:1", "--candidate", "http://127.0.0.1:2")
    code, printed = said(["gate", "mine.toml", *urls, "--regions", "cdg,syd"], monkeypatch, capsys)
    assert code == EXIT_PLAN
    assert "every rule is about what the flags took away (ord): nothing would be judged" in printed
