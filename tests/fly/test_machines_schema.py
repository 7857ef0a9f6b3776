"""The schema of the Machines API: what it refuses, and whether code and documentation know it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from machines_schema import MachinesSchema

from loadtest.world.api.app import MACHINES_API

SCHEMA = MachinesSchema()
PAGE = Path(__file__).resolve().parents[2] / "docs" / "fly-api.md"
ROW = re.compile(r"^\| `([A-Z]+ /v1/[^`]+)` \| (as Fly|in part|no) \|([^|]*)\|$", re.MULTILINE)
MACHINE = {
    "id": "1",
    "name": "one",
    "state": "started",
    "region": "cdg",
    "instance_id": "v",
    "version": "v",
    "private_ip": "fdaa::1",
    "image_ref": {"registry": "r", "repository": "i"},
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "config": {"image": "i"},
    "events": [],
    "host_status": "ok",
}


def answered() -> set[str]:
    """Return the calls that an embedded world answers."""
    return {
        f"{method} {route.path}"
        for route in MACHINES_API
        for method in (route.methods or set()) - {"HEAD"}
    }


def test_the_schema_has_every_call_that_a_world_answers() -> None:
    assert {call.name for call in SCHEMA.calls} == answered()


def test_every_type_of_the_schema_is_one() -> None:
    for call in SCHEMA.calls:
        method, path = call.name.split(" ")
        assert SCHEMA.request_faults(method, path, {"x": 1})
        for status in call.answers:
            SCHEMA.answer_faults(method, path, status, {"x": 1})


def test_the_page_tells_of_each_call_whether_it_is_emulated() -> None:
    rows = {name: kind for name, kind, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert {name for name, kind in rows.items() if kind != "no"} == answered()
    assert all(told.strip() for _, kind, told in ROW.findall(PAGE.read_text()) if kind == "in part")


@pytest.mark.parametrize(
    ("method", "target", "body", "told"),
    [
        ("POST", "/v1/apps", {"name": "a", "app_name": "a"}, "app_name is unknown"),
        ("POST", "/v1/apps", None, "body: is missing"),
        ("GET", "/v1/apps", None, "query: org_slug is missing"),
        ("GET", "/v1/apps?org_slug=a&color=red", None, "color is unknown"),
        ("GET", "/v1/apps/a", {"b": 1}, "body: there is none"),
        ("GET", "/v1/nothing", None, "there is no such call"),
        ("DELETE", "/v1/apps/a/machines/1?force=yes", None, "force 'yes' is not bool"),
        ("GET", "/v1/apps/a/machines/1/wait?timeout=1s", None, "timeout '1s' is not whole"),
        ("GET", "/v1/apps/a/machines/1/wait?state=happy", None, "'happy' is not one of started"),
        ("POST", "/v1/apps/a/machines", {"config": {"image": 3}}, "body.config.image: 3 is not"),
        ("POST", "/v1/apps/a/machines", {"config": []}, "body.config: [] is no object"),
        ("POST", "/v1/apps/a/ip_assignments", {"type": "v5"}, "'v5' is not one of v4"),
        ("POST", "/v1/apps/a/secrets", {"values": {"A": 1}}, "body.values.A: 1 is not text"),
    ],
)
def test_a_request_that_is_none_is_told(method: str, target: str, body: Any, told: str) -> None:
    (fault,) = SCHEMA.request_faults(method, target, body)
    assert told in fault


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, []),
        ({"updated_at": ""}, ["updated_at: '' is not time"]),
        ({"state": "happy"}, ["'happy' is not one of created"]),
        ({"image_ref": {"registry": "", "repository": "i"}}, ["registry: '' is not some"]),
        ({"checks": [{"name": "a", "status": "ok", "output": ""}]}, ["updated_at is", "'ok' is"]),
        ({"mood": 1}, ["mood is unknown"]),
        ({"events": {}}, ["events: {} is no list"]),
    ],
)
def test_an_answer_that_is_none_is_told(more: dict[str, Any], told: list[str]) -> None:
    faults = SCHEMA.answer_faults("GET", "/v1/apps/a/machines/1", 200, {**MACHINE, **more})
    assert len(faults) == len(told)
    assert all(word in fault for word, fault in zip(told, faults, strict=True))


def test_statuses_and_errors_are_held_too() -> None:
    asked = ("POST", "/v1/apps")
    assert SCHEMA.answer_faults(*asked, 200, {}) == ["POST /v1/apps: answered 200"]
    assert SCHEMA.answer_faults(*asked, 422, {"error": "x", "status": "name_taken"}) == []
    assert len(SCHEMA.answer_faults(*asked, 422, {"error": "x", "status": "gone"})) == 1
    assert len(SCHEMA.answer_faults("DELETE", "/v1/apps/a", 202, {"ok": True})) == 1
