"""Plans made of URLs: what is asked for, and what is refused with the URL that was meant."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.credentials import split_credentials
from loadtest.plan.headers import give_headers
from loadtest.plan.resolve import load_plan, resolve_plan, url_plan
from loadtest.plan.urls import looks_like_url, probable, url_faults


def test_a_url_is_measured_from_this_machine_with_a_modest_load() -> None:
    plan = url_plan(["https://shop.example/search?q=tea#top"], "", {})
    assert plan.regions == ("here",)
    assert plan.paths == ("/search?q=tea",)
    assert [(d.name, d.url, d.at) for d in plan.deployments] == [
        ("target", "https://shop.example", "")
    ]
    assert plan.load.rate * plan.load.duration_s <= 100


def test_a_path_of_the_url_stands_in_front_of_the_paths() -> None:
    flags = {"paths": ["/a", "/b?x=1"], "load.rate": 2.0, "regions": None}
    plan = url_plan(["http://localhost:3000/shop/"], "", flags)
    assert plan.paths == ("/shop/a", "/shop/b?x=1")
    assert plan.load.rate == 2.0


def test_a_place_gives_it_distance() -> None:
    plan = url_plan(["http://localhost:3000"], "cdg", {"regions": ["ord", "syd"]})
    assert plan.regions == ("cdg", "ord", "syd")
    assert (plan.primary_region, plan.deployments[0].at) == ("cdg", "cdg")
    assert plan.network.rtt_ms["cdg-syd"] > 200
    assert url_plan(["http://a", "http://b"], "", {}).arms_in("here") == ("first", "second")


@pytest.mark.parametrize(
    ("urls", "at", "flags", "told"),
    [
        (["http://a"], "", {"regions": ["cdg"]}, r"--regions cdg: .*from this machine.*--at"),
        (["http://a/x", "http://b/y"], "", {}, r"different paths: /x, /y; use --path"),
        (["http://a"] * 5, "", {}, "5 URLs are given"),
        (["http://a"], "xyz", {}, "'xyz' is no known region"),
        (["HTTP://a"], "", {}, "did you mean 'http://a'"),
        (["ftp://a"], "", {}, "did you mean 'https://a'"),
        (["http:/a"], "", {}, "did you mean 'http://a'"),
        (["http://a b"], "", {}, "did you mean 'http://a'"),
        (["http//a:1"], "", {}, "did you mean 'http://a:1'"),
        (["HTTPS;//a"], "", {}, "did you mean 'https://a'"),
        (["http:a"], "", {}, "did you mean 'http://a'"),
        (["http://u:secret@a:0/"], "", {}, "no valid port"),
        (["http://u:sec/secret@a/"], "", {}, "no valid port"),
        (["ftp://u:secret@a/"], "", {}, "did you mean 'https://a'"),
        (["http://u:secret@a b/"], "", {}, "did you mean 'http://a'"),
        (["http://a:0"], "", {}, "no valid port"),
        (["http://a:70000"], "", {}, "no valid port"),
        (["http://[::1"], "", {}, "no valid port|not http"),
        (["http://"], "", {}, "is not http://HOST"),
        (["http://a..b"], "", {}, "names no host"),
        ([f"http://{'a' * 64}.example"], "", {}, "names no host"),
    ],
)
def test_what_cannot_be_measured_is_told(urls: Any, at: Any, flags: Any, told: str) -> None:
    with pytest.raises(PlanError, match=told) as caught:
        url_plan(urls, at, flags)
    assert "secret" not in str(caught.value)


def test_a_user_and_a_password_become_a_header_and_stand_nowhere_else() -> None:
    """RFC 7617; percent-encoded in the URL, in UTF-8 in the header."""
    plan = url_plan(["https://me:p%C3%A4%3Assecret@shop.example/a", "https://b.example/a"], "", {})
    told, headers = give_headers(plan, {}, {})
    assert [d.url for d in told.deployments] == ["https://shop.example", "https://b.example"]
    sent = base64.b64encode("me:pä:ssecret".encode()).decode()
    assert headers == {"first": {"Authorization": f"Basic {sent}"}, "second": {}}
    stored = json.dumps(told.to_json()) + repr(told) + repr(plan)
    assert "ssecret" not in stored
    assert sent not in stored
    with pytest.raises(PlanError, match="stands for what was in the URL"):
        give_headers(resolve_plan(told.to_json()), {}, {})


def test_a_user_and_a_password_may_come_from_the_environment() -> None:
    raw = url_plan(["https://a.example"], "cdg", {}).to_json()
    raw["deployments"] = [
        {"name": "one", "url": "https://${WHO}:${WORD}@a.example", "at": "cdg"},
        {"name": "two", "of": "one"},
        {"name": "three", "of": "one", "headers": {"authorization": "Bearer x"}},
    ]
    plan = resolve_plan(raw)
    _, headers = give_headers(plan, {}, {"WHO": "me", "WORD": "100%25@:/"})
    basic = "Basic " + base64.b64encode(b"me:100%25@:/").decode()
    assert headers["one"] == headers["two"] == {"Authorization": basic}
    assert headers["three"] == {"authorization": "Bearer x"}
    with pytest.raises(PlanError, match=r"deployments\.one\.url: \$\{WORD\} is not set"):
        give_headers(plan, {}, {"WHO": "me"})


@given(st.text(), st.text(max_size=20))
def test_no_password_stands_in_a_sentence(host: str, word: str) -> None:
    secret = f"{word}s3cr3t"
    url = f"http://u:{secret}@{host}"
    plain, _ = split_credentials(url)
    for sentence in url_faults("--base", plain):
        assert "s3cr3t" not in sentence


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("shop.example", "give its URL: https://shop.example"),
        ("shop.example/about", "give its URL: https://shop.example"),
        ("localhost:3000", "give its URL: http://localhost:3000"),
        (
            "mine.toml",
            "there is no file 'mine.toml'; give the path of a TOML plan, one of ours",
        ),
        ("scenarios", "is a folder"),
        ("scenarios/pages.py", "--scenario scenarios/pages.py"),
        ("ci.yaml", "is YAML; a plan is TOML"),
        ("", "names no file"),
    ],
)
def test_a_word_that_is_no_plan_is_told_with_what_was_meant(
    word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ci.yaml").write_text("on: push")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "pages.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=told):
        load_plan(word)


def test_on_fly_a_url_is_measured_from_the_regions_that_are_named() -> None:
    plan = url_plan(["https://shop.example/a"], "", {"world": "fly", "regions": ["cdg", "ord"]})
    assert (plan.world, plan.regions, plan.primary_region) == ("fly", ("cdg", "ord"), "cdg")
    assert (plan.database.fly_toml, plan.paths, plan.patience_s) == ("", ("/a",), 300.0)
    with pytest.raises(PlanError, match="--regions: name the regions of Fly"):
        url_plan(["https://shop.example"], "", {"world": "fly"})
    with pytest.raises(PlanError, match="--at cdg: no distance is emulated on Fly"):
        url_plan(["https://shop.example"], "cdg", {"world": "fly", "regions": ["cdg"]})
    with pytest.raises(PlanError, match=r"'scl' .* use 'gru'"):
        url_plan(["https://shop.example"], "", {"world": "fly", "regions": ["scl"]})


def test_a_plan_for_fly_has_no_place_here_and_no_distance() -> None:
    raw = {
        "regions": ["here"],
        "primary_region": "here",
        "world": "fly",
        "scenario": "scenarios/pages.py",
        "base": "0",
        "deployments": [{"name": "a", "url": "https://a"}],
    }
    with pytest.raises(PlanError, match="'here' is this machine; name regions, such"):
        resolve_plan(raw)
    raw |= {"regions": ["cdg"], "primary_region": "cdg"}
    raw["deployments"] = [{"name": "a", "url": "https://a", "at": "cdg"}]
    with pytest.raises(
        PlanError, match=r"deployments\.a\.at: no distance is emulated where regions"
    ):
        resolve_plan(raw)


def test_a_plans_own_urls_are_checked_too() -> None:
    raw = {
        "regions": ["here"],
        "primary_region": "here",
        "scenario": "scenarios/pages.py",
        "base": "0",
        "deployments": [{"name": "a", "url": "http://a/path"}, {"name": "b", "url": "https://b/"}],
    }
    with pytest.raises(PlanError, match=r"deployments\.a\.url.*did you mean 'http://a'"):
        resolve_plan(raw)
    raw["deployments"] = [{"name": "a", "url": "http://a", "at": "cdg"}]
    with pytest.raises(PlanError, match="'here' is for deployments that are URLs without a place"):
        resolve_plan(raw)
    raw["deployments"] = [{"name": "a", "fly_toml": "fly/loadtest/fly.toml", "at": "cdg"}]
    with pytest.raises(PlanError, match=r"deployments\.a\.at: is for a url"):
        resolve_plan(raw)
    raw["regions"] = "cdg"
    with pytest.raises(PlanError, match=r"regions: 'cdg' is not allowed.*write \['cdg'\]"):
        resolve_plan(raw)


def test_a_plan_from_an_editor_that_marks_its_bytes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    text = Path("scenarios/latency-tables.toml").read_text(encoding="utf-8")
    file.write_text("\ufeff" + text, encoding="utf-8")
    assert load_plan(str(file)).regions


@given(st.text(max_size=60))
def test_any_text_gives_a_plan_or_a_sentence(text: str) -> None:
    list(url_faults("URL", text))
    assert not probable(text) or not list(url_faults("URL", probable(text)))
    for url in (text, f"http://{text}"):
        if looks_like_url(url):
            with contextlib.suppress(PlanError):
                url_plan([url], "", {})


def test_what_is_not_ascii_is_sent_as_utf_8() -> None:
    plan = url_plan(["http://a/caf\u00e9"], "", {"paths": ["/?q=\u00fc&x=%20"]})
    assert plan.paths == ("/caf%C3%A9/?q=%C3%BC&x=%20",)
    with pytest.raises(PlanError) as caught:
        load_plan(flags={"paths": ["/caf\u00e9?a=b"]})
    (fault,) = caught.value.faults
    assert fault.endswith("write '/caf%C3%A9?a=b'")


def test_a_url_without_a_path_asks_for_the_first_page() -> None:
    assert url_plan(["http://a", "http://b/"], "", {}).paths == ("/",)
    assert url_plan(["http://a?x=1", "http://b/?x=1"], "", {}).paths == ("/?x=1",)


def test_a_run_of_urls_is_called_by_them() -> None:
    assert url_plan(["http://me:word@a:8/x"], "cdg", {}).title == "http://...@a:8, as if in cdg"
