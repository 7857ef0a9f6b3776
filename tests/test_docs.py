"""The documentation names everything that a person can set, read or meet, and nothing is broken."""

from __future__ import annotations

import ast
import re
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from our_commands import commands_in, parse
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from loadtest import errors
from loadtest.cli import cli
from loadtest.plan import thresholds
from loadtest.plan.model import Plan
from loadtest.plan.resolve import resolve_plan
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import DIMENSIONS, METRICS
from loadtest.records.kinds import ERROR_KINDS
from loadtest.records.schema import RECORDS

TOP = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in (
        *sorted(TOP.glob("*.md")),
        *sorted((TOP / "docs").rglob("*.md")),
        TOP / "fly" / "README.md",
        TOP / "reports" / "README.md",
    )
}
README, PLAN = PAGES["README.md"], PAGES["docs/plan.md"]
GATE, GRAMMAR = PAGES["docs/gate.md"], PAGES["docs/thresholds.md"]
MEASURING, STATISTICS = PAGES["docs/measuring.md"], PAGES["docs/statistics.md"]
PICTURE_BYTES, PICTURE_WIDTH = 400_000, 1280
GRAMMAR_WORDS = (
    *("where", "and", "for each", "pooled", "in", "not in", "within", "of baseline", "margin"),
    *("mean", "rate", "share", "us", "ms", "s", "%", "<", "<=", ">", ">=", "=", "!=", "or"),
)


def commands(group: click.Command, name: str = "loadtest") -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        for word, command in group.commands.items():
            yield from commands(command, f"{name} {word}")
    else:
        yield name, group


def flags() -> list[tuple[str, str]]:
    return [
        (name, flag)
        for name, command in commands(cli)
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    ]


def plan_keys(model: type[BaseModel] = Plan, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key of a plan, dotted, with its default as the documentation writes it."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = part_of(field.annotation)
        if inner is None or field.default == ():
            yield key, written(field)
        if inner is not None:
            yield from plan_keys(inner, f"{key}.")


def part_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := part_of(a))), None)


def written(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def cells(page: str, first: str) -> list[str]:
    """Return the cells of the table row that begins with a word in code."""
    for line in page.splitlines():
        if line.startswith(f"| `{first}` |"):
            return [cell.strip() for cell in line.strip("| ").split(" | ")]
    raise AssertionError(f"no table row begins with `{first}`")


def blocks(language: str) -> list[tuple[str, str]]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(name, body) for name, page in PAGES.items() for body in pattern.findall(page)]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def check_names() -> set[str]:
    """Return the names of the validity checks, read from the code that makes them."""
    named = set()
    for path in (TOP / "loadtest" / "analysis").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id == "ValidityCheck":
                named |= {k.value for k in call.keywords if k.arg == "name"}
            elif call.func.id in ("_Gauge", "_share_check"):
                named.add(call.args[0])
    return {str(node.value) for node in named if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", [name for name, _ in commands(cli)])
def test_every_command_is_documented(name: str) -> None:
    assert f"`{name}" in PLAN


@pytest.mark.parametrize(("name", "flag"), flags())
def test_every_flag_is_documented(name: str, flag: str) -> None:
    assert re.search(rf"`{flag}[` ]", PLAN), f"{name} {flag}"


def test_no_flag_is_documented_that_is_not_there() -> None:
    known = {flag for _, flag in flags()} | {"--help", "--version"}
    pattern = re.compile(r"loadtest [^\n`]*|^\| [^|]*\| `--[^|]*", re.MULTILINE)
    told = {
        flag
        for name in ("README.md", "docs/plan.md", "docs/gate.md", "docs/measuring.md")
        for line in pattern.findall(PAGES[name])
        for own in [re.sub("'[^']*'", "", line).partition("#")[0]]  # not of what it runs
        for flag in re.findall(r"(?<!\S)`?(--[a-z-]+)", own)
    }
    assert told <= known


@pytest.mark.parametrize("name", PAGES)
def test_every_command_on_a_page_is_one_that_this_version_takes(name: str) -> None:
    page = PAGES[name].replace("\\\n", " ")
    found = re.findall(r"^ *(?:\$ )?(?:[A-Z_]+=\S+ )*(loadtest [a-z-].*)$", page, re.MULTILINE)
    assert found or name not in ("README.md", "fly/README.md", "docs/own-machines.md")
    for line in found:
        for words in commands_in(line):
            parse(words)


@pytest.mark.parametrize(("key", "default"), [*plan_keys()])
def test_every_key_of_a_plan_is_documented_with_its_default(key: str, default: str) -> None:
    row = cells(PLAN, key)
    assert row[2] == default
    assert len(row[3]) > len("meaning")


def test_every_column_of_the_records_is_documented_with_its_type() -> None:
    types = {"dictionary<values=string, indices=int32, ordered=0>": "text"}
    for field in RECORDS:
        kind = types.get(str(field.type), str(field.type))
        assert cells(MEASURING, field.name)[1] == kind, field.name


def test_every_kind_of_failure_is_documented() -> None:
    assert [kind for kind in ERROR_KINDS if kind and f"`{kind}`" not in MEASURING] == []


@pytest.mark.parametrize("page", ["README.md", "docs/gate.md"])
def test_every_exit_code_is_documented(page: str) -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")} | {1, 2}
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGES[page], re.MULTILINE)
    assert codes <= {int(code) for row in rows for code in row.split(",")}


@pytest.mark.parametrize("word", [*METRICS, *DIMENSIONS])
def test_every_metric_and_dimension_is_documented(word: str) -> None:
    assert re.search(rf'[`"]{word}["`]', GRAMMAR)


@pytest.mark.parametrize("word", GRAMMAR_WORDS)
def test_every_word_of_the_grammar_is_documented(word: str) -> None:
    assert all(f'"{part}"' in GRAMMAR for part in word.split())


def test_the_grammar_is_the_one_of_the_code() -> None:
    code = str(thresholds.__doc__).partition("Meaning:")[0].splitlines()[2:]
    lines = [" ".join(line.split()) for line in code if line.strip()]
    start = next(i for i, line in enumerate(lines) if line.startswith("metric "))
    end = next(i for i, line in enumerate(lines) if line.startswith("aggregation "))
    told = {" ".join(line.split()) for line in GRAMMAR.splitlines()}
    # Metrics have a table of their own.
    assert [line for line in (*lines[:start], *lines[end:]) if line not in told] == []


def test_every_example_of_a_rule_is_of_the_grammar() -> None:
    examples = re.findall(r"^\| `([^`]+)` \|", GRAMMAR.partition("## Examples")[2], re.MULTILINE)
    assert len(examples) > 5
    for text in (*examples, *re.findall(r'--threshold "([^"]+)"', GATE)):
        parse_threshold(text)


def test_every_validity_check_is_documented() -> None:
    names = check_names()
    assert {"links", "late", "loop lag", "a/a"} <= names
    assert [name for name in sorted(names) if f"| `{name}` |" not in STATISTICS] == []


def test_every_verdict_and_every_input_of_the_action_is_documented() -> None:
    action = (TOP / "action.yml").read_text(encoding="utf-8").partition("runs:")[0]
    for name in re.findall(r"^  ([a-z-]+):$", action.partition("inputs:")[2], re.MULTILINE):
        assert f"| `{name}` |" in GATE
    for verdict in ("pass", "fail", "inconclusive", "invalid"):
        assert f"| {verdict} |" in GATE


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_relative_link_leads_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (TOP / page).parent / path if path else TOP / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize(("page", "body"), blocks("toml"))
def test_every_plan_in_the_documentation_is_a_plan(page: str, body: str) -> None:
    raw = tomllib.loads(body)
    if "regions" in raw:
        assert resolve_plan(raw).thresholds, page


@pytest.mark.parametrize(("page", "body"), blocks("python"))
def test_every_python_block_compiles(page: str, body: str) -> None:
    compile(body, page, "exec")


def test_the_scenario_of_the_readme_loads(tmp_path: Path) -> None:
    body = next(body for page, body in blocks("python") if page == "README.md")
    (tmp_path / "search.py").write_text(body, encoding="utf-8")
    # In a process of its own: importing Locust patches sockets.
    program = (
        "from loadtest.engine.worker.scenario import load_scenario\n"
        "print(*[(c.scenario_name(), len(c.playable_tasks())) for c in load_scenario('search.py')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(TOP), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "('search', 10)", done.stderr


def test_the_picture_of_the_report_is_there() -> None:
    picture = (TOP / "docs" / "report.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", picture[16:20])[0] == PICTURE_WIDTH
    assert len(picture) <= PICTURE_BYTES
    assert "(docs/report.png)" in README


def test_the_sample_run_is_whole_and_tells_nothing_of_the_machine_it_was_made_on() -> None:
    sample = TOP / "reports" / "sample"
    files = {path.name for path in sample.iterdir()}
    assert files == set(re.findall(r"`([a-z]+\.[a-z]+)`", PAGES["reports/README.md"]))
    for path in sample.iterdir():
        found = re.findall(rb"(?:/home|/root|/tmp|/usr|/work|/Users)/\S+", path.read_bytes())
        assert found == [], path.name


def test_every_number_of_the_atlas_that_has_an_interval_is_one_of_its_report() -> None:
    reports = sorted((TOP / "reports" / "atlas").glob("*.md"))
    report = "\n".join(path.read_text(encoding="utf-8") for path in reports)
    row = re.compile(
        r"^\|.*?\| (\w+) \| ([\d\u202f]+) \| (-?[\d.]+) (?:ms|%) "
        r"\| \\\[(-?[\d.]+)(?: %)?, (-?[\d.]+) (?:ms|%)\\\]",
        re.MULTILINE,
    )
    measured = [match.groups() for match in row.finditer(report)]
    told = re.findall(
        r"(\d+(?:\.\d+)?)(?: ms)?(?: %)?([a-z\- ]*)\[([\d.]+), ([\d.]+)\] \(n = (\d+)\)",
        " ".join("".join(t for p, t in PAGES.items() if p.startswith("docs/atlas")).split()),
    )
    assert len(told) >= 15
    for value, words, low, high, n in told:
        named = set(words.split()) & {region for region, *_ in measured}
        assert any(
            there == n
            and (not named or region in named)
            and all(map(rounds_to, numbers, (value, low, high)))
            for region, there, *numbers in measured
        ), f"{value}{words}[{low}, {high}] (n = {n}) is nowhere in reports/atlas"


def rounds_to(measured: str, told: str) -> bool:
    """Tell whether a measured number is the one that is told, in as many digits as that has."""
    digits = len(told.partition(".")[2])
    return abs(float(measured) - float(told)) <= float(f"0.5e-{digits}") + 1e-9
