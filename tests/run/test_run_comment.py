"""A verdict's comment: one on a pull request, updated in place, never somebody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import synth
from forge_server import CommentStore, serving
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError, WorldError
from loadtest.gate.markdown import MARKER, fitting, marker_of
from loadtest.run.comment import comment_text, post_comment
from loadtest.run.forge import GITHUB_CHARACTERS, CommentThread, find_thread, job_link

GITHUB = {
    "GITHUB_REPOSITORY": "o/shop",
    "GITHUB_TOKEN": "secret-token",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_API_URL": "http://127.0.0.1:1",
}
GITLAB = {
    "CI_API_V4_URL": "http://127.0.0.1:1",
    "CI_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_IID": "7",
    "GITLAB_TOKEN": "secret-token",
}
FORGES = pytest.mark.parametrize("environ", [GITHUB, GITLAB], ids=["GitHub", "GitLab"])


def thread_of(environ: dict[str, str], number: int | None = None) -> CommentThread:
    found = find_thread(environ, number)
    assert isinstance(found, CommentThread), found
    return found


def post(environ: dict[str, str], store: CommentStore, text: str) -> str:
    return post_comment(thread_of(environ), text, transport=store.transport())


@FORGES
def test_one_comment_is_written_and_then_updated(environ: dict[str, str]) -> None:
    store = CommentStore()
    store.add("looks good", "someone")
    assert "written" in post(environ, store, f"{MARKER}\nfirst")
    assert "updated" in post(environ, store, f"{MARKER}\nsecond")
    assert [c["body"] for c in store.comments] == ["looks good", f"{MARKER}\nsecond"]


@FORGES
def test_a_comment_of_somebody_else_that_quotes_ours_is_left_alone(environ: dict[str, str]) -> None:
    store = CommentStore()
    theirs = f"{MARKER}\nI copied this"
    store.add(theirs, "someone")
    post(environ, store, f"{MARKER}\nours")
    assert [c["body"] for c in store.comments] == [theirs, f"{MARKER}\nours"]


def test_the_token_of_a_github_job_knows_its_comment_as_a_bots() -> None:
    store = CommentStore(account="")
    store.add(f"{MARKER}\nnot a bot's", "someone")
    post(GITHUB, store, f"{MARKER}\nfirst")
    post(GITHUB, store, f"{MARKER}\nsecond")
    assert [c["body"] for c in store.comments[1:]] == [f"{MARKER}\nsecond"]


def test_the_forges_line_ends_do_not_hide_a_comment() -> None:
    store = CommentStore()
    number = store.add(f"{MARKER}\r\nbefore", "loadtest-bot")
    post(GITHUB, store, f"{MARKER}\nafter")
    assert store.body_of(number) == f"{MARKER}\nafter"


def test_a_comment_behind_many_others_is_found() -> None:
    store = CommentStore()
    for _ in range(230):
        store.add("talk", "someone")
    number = store.add(f"{MARKER}\nbefore", "loadtest-bot")
    post(GITHUB, store, f"{MARKER}\nafter")
    assert store.body_of(number) == f"{MARKER}\nafter"
    assert len(store.comments) == 231


def test_gates_of_two_names_have_a_comment_each() -> None:
    store = CommentStore()
    for name in ("web", "api", "web"):
        post(GITHUB, store, f"{marker_of(name)}\n{name}")
    assert [c["body"] for c in store.comments] == [f"{marker_of(n)}\n{n}" for n in ("web", "api")]


def test_a_refusal_says_what_the_job_needs_and_not_the_token() -> None:
    store = CommentStore(writable=False)
    with pytest.raises(WorldError, match="pull-requests: write") as told:
        post(GITHUB, store, f"{MARKER}\nx")
    assert "Resource not accessible" in str(told.value)
    assert "secret-token" not in str(told.value)
    wrong = {**GITLAB, "GITLAB_TOKEN": "other"}
    with pytest.raises(WorldError, match="scope api"):
        post(wrong, store, f"{MARKER}\nx")


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ({"pull_request": {"number": 9}}, 9),
        ({"issue": {"number": 8, "pull_request": {}}}, 8),
        ({"issue": {"number": 8}}, 7),
        ({"pull_request": {"number": True}}, 7),
        (["odd"], 7),
    ],
)
def test_the_number_is_the_events_or_the_refs(tmp_path: Path, event: object, number: int) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event))
    thread = thread_of({**GITHUB, "GITHUB_EVENT_PATH": str(path)})
    assert thread.comments == f"/repos/o/shop/issues/{number}/comments"
    assert thread_of(GITHUB, 3).comments == "/repos/o/shop/issues/3/comments"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "neither"),
        ({**GITHUB, "GITHUB_TOKEN": ""}, "GITHUB_TOKEN is not set"),
        ({**GITHUB, "GITHUB_REF": "refs/heads/main"}, "no pull request"),
        ({**GITLAB, "GITLAB_TOKEN": ""}, "GITLAB_TOKEN is not set"),
        ({**GITLAB, "CI_MERGE_REQUEST_IID": ""}, "no merge request"),
    ],
)
def test_where_nothing_can_be_written_the_reason_is_told(
    environ: dict[str, str], words: str
) -> None:
    found = find_thread(environ)
    assert isinstance(found, str)
    assert words in found


@pytest.mark.parametrize("url", ["http://forge.example/api", "ftp://x", "http://[", "x"])
def test_a_token_does_not_travel_in_the_clear(url: str) -> None:
    with pytest.raises(PlanError, match="GITHUB_API_URL"):
        find_thread({**GITHUB, "GITHUB_API_URL": url})


def test_the_page_of_a_job_is_linked() -> None:
    environ = {"GITHUB_SERVER_URL": "https://g", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "5"}
    assert job_link(environ) == "https://g/o/r/actions/runs/5#artifacts"
    assert job_link({"CI_JOB_URL": "https://l/j/3"}) == "https://l/j/3/artifacts/browse"
    assert job_link({}) == ""


@given(st.text(max_size=300), st.integers(100, 400))
def test_a_text_is_cut_at_a_lines_end_and_says_so(text: str, characters: int) -> None:
    cut = fitting(text, characters)
    assert len(cut) <= characters
    assert cut == text or cut.endswith("in the run's report.\n")


@pytest.mark.parametrize("name", ["a b", "-->", "x" * 41, ".hidden", "é"])
def test_a_name_that_could_end_the_mark_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match="--name"):
        marker_of(name)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(
        thresholds=("ttfb.p50 < 1ms where deployment = single and region = syd",)
    )
    return synth.write_run(tmp_path_factory.mktemp("stored") / "run", plan, seconds=20, seed=3)


def test_the_text_has_verdict_name_and_link(stored: Path) -> None:
    text = comment_text(stored, name="web", link="https://ci/r/1?a=(b) c")
    assert text.startswith("<!-- loadtest verdict: web -->\n## ❌ web: Fail")
    assert "[Report and all files of the run](https://ci/r/1?a=%28b%29%20c)" in text
    assert len(text) < GITHUB_CHARACTERS
    with pytest.raises(PlanError, match="--link"):
        comment_text(stored, link="javascript:alert(1)")


@pytest.mark.contract
def test_the_command_writes_updates_and_prints(stored: Path) -> None:
    """Through the command line and a real connection; the stored run's files stay as they are."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI_", "GH_"))}
    before = {p.name: p.read_bytes() for p in stored.iterdir() if p.is_file()}

    def comment(*flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "loadtest", "comment", str(stored), *flags],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**keep, **environ},
        )

    store = CommentStore()
    with serving(store) as url:
        first = comment(**{**GITHUB, "GITHUB_API_URL": url})
        second = comment("--link", "https://ci/r/2", **{**GITHUB, "GITHUB_API_URL": url})
    gone = comment(**{**GITHUB, "GITHUB_API_URL": url})
    printed = comment()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    (only,) = store.comments
    assert only["body"].startswith(MARKER)
    assert "https://ci/r/2" in only["body"]
    assert gone.returncode == 14
    assert "GitHub at http://127.0.0.1" in gone.stderr
    assert "secret-token" not in gone.stdout + gone.stderr + first.stderr
    assert printed.returncode == 0
    assert printed.stdout.startswith(MARKER)
    assert "no comment: neither" in printed.stderr
    assert {p.name: p.read_bytes() for p in stored.iterdir() if p.is_file()} == before
