"""Curl command lines, HAR files and OpenAPI documents become scenario files, without secrets."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.recorded import RecordedRequest, Recording, read_recording
from loadtest.run.recorded import scenario_text, write_scenario


def read(tmp_path: Path, content: str | dict[str, Any]) -> Recording:
    path = tmp_path / "source"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_recording(path)


@pytest.mark.parametrize(
    ("line", "method", "url", "headers", "body"),
    [
        ("curl https://shop.example/", "GET", "https://shop.example/", {}, ""),
        ("$ curl -sS --compressed shop.example/a", "GET", "http://shop.example/a", {}, ""),
        ("curl -I 'https://shop.example/a?b=c d'", "HEAD", "https://shop.example/a?b=c d", {}, ""),
        (
            "curl https://shop.example/ \\\n  -H 'Accept: text/html' \\\n  -H 'X-A: b:c'",
            "GET", "https://shop.example/", {"Accept": "text/html", "X-A": "b:c"}, "",
        ),
        (
            "curl -XPUT https://shop.example/x --json '{\"a\": 1}'",
            "PUT", "https://shop.example/x", {"Content-Type": "application/json"}, '{"a": 1}',
        ),
        (
            "curl https://shop.example/x -d a=1 --data-urlencode 'b=c d'",
            "POST", "https://shop.example/x",
            {"Content-Type": "application/x-www-form-urlencoded"}, "a=1&b=c%20d",
        ),
        ("curl -G https://shop.example/x -d q=tea", "GET", "https://shop.example/x?q=tea", {}, ""),
        (
            "curl -u ann:pass https://shop.example/",
            "GET", "https://shop.example/", {"Authorization": "Basic YW5uOnBhc3M="}, "",
        ),
        (
            "curl --request=DELETE --url=https://shop.example/1",
            "DELETE", "https://shop.example/1", {}, "",
        ),
    ],
)  # fmt: skip
def test_a_curl_command_line_is_read_as_curl_reads_it(
    tmp_path: Path, line: str, method: str, url: str, headers: dict[str, str], body: str
) -> None:
    (request,) = read(tmp_path, line).requests
    assert (request.method, request.url, dict(request.headers), request.body) == (
        method, url, headers, body,
    )  # fmt: skip


def har(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"entries": list(requests)}}


def entry(url: str, method: str = "GET", kind: str = "document", **headers: str) -> dict[str, Any]:
    listed = [{"name": name, "value": value} for name, value in headers.items()]
    request = {"method": method, "url": url, "headers": listed}
    return {"request": request, "_resourceType": kind}


def test_a_har_file_gives_its_pages_and_tells_what_it_leaves_out(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        har(
            entry("https://shop.example/", Cookie="session=1"),
            entry("https://shop.example/logo.png", kind="image"),
            entry("https://shop.example/api", kind="xhr"),
            entry("https://shop.example/login", method="POST"),
            entry("https://cdn.example/x", kind="fetch"),
        ),
    )
    assert found.origin == "https://shop.example"
    assert [r.url for r in found.requests] == ["https://shop.example/", "https://shop.example/api"]
    told = " ".join(found.notes)
    assert "1 requests that write" in told
    assert "1 images" in told
    assert "1 requests to other hosts" in told


def test_an_openapi_document_is_asked_with_its_examples(tmp_path: Path) -> None:
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://api.example/v1/"}],
        "components": {"parameters": {"Id": {"name": "id", "in": "path", "example": "a/b"}}},
        "paths": {
            "/notes": {"get": {"parameters": [
                {"name": "q", "in": "query", "required": True, "schema": {"default": "tea"}},
                {"name": "page", "in": "query", "schema": {"type": "integer"}},
            ]}},
            "/notes/{id}": {"parameters": [{"$ref": "#/components/parameters/Id"}], "get": {}},
            "/users/{user}": {"get": {}},
            "/write": {"post": {}},
        },
    }  # fmt: skip
    found = read(tmp_path, document)
    assert [request.url for request in found.requests] == [
        "https://api.example/v1/notes?q=tea",
        "https://api.example/v1/notes/a%2Fb",
    ]
    assert found.notes == ("GET /users/{user} is left out: user has no example",)


YAML = """
openapi: 3.0.3
info:
  title: Notes  # no merge keys, no dates, no words of YAML 1.1 for true and false
  description: |
    curl https://docs.example/
servers: [{url: https://api.example/v1}]
paths:
  /notes:
    get:
      parameters:
        - {name: from, in: query, required: true, example: 2024-01-31}
        - {name: lang, in: query, required: true, schema: {enum: [no, en]}}
        - {name: open, in: query, required: true, schema: {default: true}}
        - {name: tag, in: query, example: [a, b c]}
        - {name: page, in: query, required: false, schema: {default: 1}}
  /notes/{id}:
    parameters: [&id {name: id, in: path, required: true, example: 007}]
    get: {summary: one}
  /copies/{id}:
    get: {parameters: [*id]}
"""


def test_an_openapi_document_in_yaml_is_read_as_json_is(tmp_path: Path) -> None:
    """Numbers and dates stay as they are written; `no` is Norwegian."""
    found = read(tmp_path, YAML)
    assert [request.url.removeprefix("https://api.example/v1") for request in found.requests] == [
        "/notes?from=2024-01-31&lang=no&open=true&tag=a&tag=b+c",
        "/notes/007",
        "/copies/007",
    ]
    assert found.notes == ()


BOMB = "openapi: 3.1.0\na0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join(9 * [f'*a{n - 1}'])}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("hello", "neither curl"),
        ("name: shop\nsteps: []", "OpenAPI document \\(JSON or YAML\\)"),
        ("openapi: 3.1.0\npaths: [", "is no YAML: while parsing"),
        ("openapi: 3.1.0\n? [a]\n: b", "is no YAML: while constructing a mapping"),
        ("openapi: 3.1.0\nx: !!python/object/apply:os.getpid []", "is no YAML: could not deter"),
        ("openapi: 3.1.0\nx: " + 5000 * "[", "is no YAML"),
        ("openapi: 3.1.0\npaths: {/: {get: [}}", "is no YAML"),
        ("openapi: 3.1.0\nx: " + (9 << 20) * "a", "YAML of more than 8 MB"),
        (BOMB, "neither curl"),
        ("openapi: 3.1.0\npaths: {/: {get: {}}}", "no absolute URL"),
        ("[]", "neither curl"),
        ("curl 'https://shop.example/", "No closing quotation"),
        ("curl -H", "-H has no value"),
        ("curl -s", "has no URL"),
        ('{"log": {"entries": []}}', "no request"),
        ('{"log": {"entries": [1]}}', "is bent"),
        ('{"paths": {"/": {"get": {}}}}', "no absolute URL"),
        ('{"openapi": "3", "servers": [{"url": "https://a.b"}], "paths": {}}', "no request"),
    ],
    ids=lambda text: text[:30],
)
def test_what_cannot_be_asked_is_told(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        read(tmp_path, content)


def test_secrets_go_with_the_run_and_into_no_file(tmp_path: Path) -> None:
    source = tmp_path / "My shop.txt"
    source.write_text(
        "curl https://shop.example/a -H 'Authorization: Bearer s3cret' -b 'id=c00kie' -A agent"
    )
    made = write_scenario(source, tmp_path)
    text = made.path.read_text()
    assert made.path.name == "my_shop_scenario.py"
    assert made.secrets == {"Authorization": "Bearer s3cret", "Cookie": "id=c00kie"}
    assert "s3cret" not in text + " ".join(made.notes)
    assert "c00kie" not in text + " ".join(made.notes)
    assert "headers={'User-Agent': 'agent'}" in text

    assert write_scenario(source, tmp_path).path == made.path  # the same again is no other
    made.path.write_text(text + "# mine\n")
    with pytest.raises(PlanError, match="was edited"):
        write_scenario(source, tmp_path)
    assert made.path.read_text().endswith("# mine\n")


def test_no_task_takes_the_name_of_another() -> None:
    """The third page is called what the second of two alike would be."""
    urls = ("https://shop.example/", "https://shop.example/", "https://shop.example/2")
    requests = tuple(RecordedRequest("GET", url, (), "") for url in urls)
    text = scenario_text(Recording("https://shop.example", requests), "")
    assert re.findall(r"def (\w+)\(", text) == ["get", "get_2", "get_2_2"]


words = st.text(max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            RecordedRequest,
            method=st.sampled_from(["GET", "POST", "PROPFIND"]),
            url=words.map(lambda path: f"https://shop.example/{path}"),
            headers=st.lists(st.tuples(words, words), max_size=3).map(tuple),
            body=words,
        ),
        min_size=1,
        max_size=4,
    ),
    words,
)
def test_whatever_was_recorded_the_file_is_python(
    requests: list[RecordedRequest], source: str
) -> None:
    text = scenario_text(Recording("https://shop.example", tuple(requests)), source)
    (visitor,) = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
    tasks = [node.name for node in visitor.body if isinstance(node, ast.FunctionDef)]
    assert len(set(tasks)) == len(tasks) == len(requests)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        words.map(lambda text: f"curl {text}"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | words,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
            max_leaves=12,
        ).map(lambda value: json.dumps({"log": {"entries": value}, "paths": value})),
    )
)
def test_a_bent_source_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "bent"
    path.write_text(text, encoding="utf-8", errors="replace")
    told = ""
    try:
        assert read_recording(path).requests
    except PlanError as error:
        told = str(error)
    assert told == "" or told.startswith("--from ")
