"""The whole report of a made-up run: what it says, that it never varies, that it is safe."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from synth import Effects, make_plan, write_run

from loadtest.analysis.checks import SplitTest, Validity, ValidityCheck
from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import Summary, summarise
from loadtest.frozen import Signed
from loadtest.gate.results import Decision, RuleResult, Verdict
from loadtest.gate.verdict import judge
from loadtest.plan.apps import Deployment
from loadtest.plan.model import Load
from loadtest.records.facts import MomentFacts, SegmentFacts
from loadtest.records.world_facts import ComputerFacts
from loadtest.report.base.context import Context
from loadtest.report.base.events import events_in
from loadtest.report.base.view import Code, Heading, Matrix, Table
from loadtest.report.pages import html, markdown
from loadtest.report.pages.model import build_report
from loadtest.report.pages.tables import terminal_tables, verdict_block
from loadtest.report.pages.write import write_report
from loadtest.report.sections.patterns import WORDS
from loadtest.units import format_ms

COMMAND = "loadtest run --regions cdg,ord,syd,scl"
EVIL = "<script>alert('x')</script>"
Stored = tuple[Run, Summary, Verdict]


def rule(region: str, decision: Decision) -> RuleResult:
    return RuleResult(
        rule="ttfb.p95 < 100ms where deployment = replica",
        cell=f"{region} / replica",
        region=region,
        deployment="replica",
        scenario="browse",
        kind="absolute",
        metric="ttfb.p95",
        unit="ms",
        observed=90.0,
        low=88.0,
        high=95.0,
        limit=100.0,
        base=None,
        n=300,
        decision=decision,
        why="the interval lies inside the limit",
        flip="10.0 ms more would",
        detectable=104.0,
        seconds_to_decide=None,
        p_fail=0.99,
        p_pass=0.001,
        blocks=15,
    )


def verdict_of(decision: Decision, *, invalid: tuple[str, ...] = ()) -> Verdict:
    rules = tuple(rule(r, "pass") for r in ("cdg", "ord", "scl"))
    return Verdict(
        run_id="made-up",
        decision=decision,
        sentence=f"the run is called {decision}",
        rules=(*rules, rule("syd", decision if decision != "none" else "pass")),
        invalid=invalid,
        family=4,
        alpha=0.05,
        look=1,
        looks=3,
        seed=7,
        resamples=2_000,
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    mixed = Deployment(
        name="multi-mixed",
        of="multi",
        measured_from=("scl",),
        new_connection_share=0.68,
        title="Four regions, one database, new connections for some requests",
    )
    plan = make_plan(
        deployments=(*make_plan().deployments, mixed),
        title="Three deployments, four regions",
        load=Load(rate=10, duration_s=30, warmup_s=4, block_s=2, new_connections=0.05),
    )
    folder = tmp_path_factory.mktemp("runs") / "made-up"
    effects = Effects(error_share={"multi": 0.004}, replayed_share=0.02)
    run = load_run(write_run(folder, plan, seconds=30, seed=5, effects=effects))
    return run, summarise(run), verdict_of("inconclusive")


@pytest.fixture(scope="module")
def page(stored: Stored) -> str:
    return html.render(*stored, command=COMMAND)


def test_the_headline_is_the_result_in_a_sentence(stored: Stored) -> None:
    expected = (
        r"Replica answers in 4\d–8\d ms from all four regions; "
        r"multi takes 2\d\d–5\d\d ms from the remote ones"
    )

    assert re.fullmatch(expected, build_report(*stored).headline)


def test_every_section_of_the_contents_is_in_the_page(page: str) -> None:
    keys = re.findall(r'<li><a href="#([\w-]+)"', page)

    assert {"matrix", "tables", "distributions", "time", "gate", "validity", "reproduce"} <= set(
        keys
    )
    for key in keys:
        assert page.count(f'id="{key}"') == 1


def test_no_two_elements_share_an_id(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)

    assert len(ids) == len(set(ids))


def test_the_page_stays_small(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_the_same_run_gives_the_same_bytes(stored: Stored, page: str) -> None:
    assert html.render(*stored, command=COMMAND) == page


@pytest.mark.parametrize("decision", ["pass", "fail", "inconclusive", "invalid", "none"])
def test_the_badge_shows_each_verdict(stored: Stored, decision: Decision) -> None:
    run, summary, _ = stored
    report = build_report(run, summary, verdict_of(decision))

    assert report.verdict == decision
    assert f"**{markdown.decision(decision)}**" in markdown.render_view(report)


def test_a_run_without_rules_says_that_nothing_was_judged(stored: Stored) -> None:
    run, summary, verdict = stored
    bare = dataclasses.replace(verdict, rules=(), decision="none", sentence="no thresholds")

    assert "nothing was judged" in markdown.render(run, summary, bare)


def test_markdown_keeps_its_form(stored: Stored, golden: Callable[[str, str], None]) -> None:
    """Checks are made by hand: their sentences belong to the analysis, whose tests have them."""
    run, summary, verdict = stored
    checks = (
        ValidityCheck(
            "loop lag", "region", 0.21, 5.0, "ms", True, "The loop was on time.", region="cdg"
        ),
        ValidityCheck(
            "late", "region", 0.02, 0.01, "share", False, "Too late.", "Go slower.", "syd"
        ),
    )
    aa = SplitTest(100, 4, 0, True)
    steady = dataclasses.replace(summary, validity=Validity(checks, aa))

    text = markdown.render(run, steady, verdict, command=COMMAND)

    # The plan's hash changes with every key that plans learn.
    golden("report.md", re.sub(r"sha256 [0-9a-f]{16}", "sha256 (masked)", text))


def test_every_table_is_rectangular(stored: Stored) -> None:
    tables = [
        block
        for section in build_report(*stored).sections
        for block in section.blocks
        if isinstance(block, Table)
    ]

    assert len(tables) > 15
    for table in tables:
        assert len(table.align) == len(table.headers), table.key
        assert {len(row) for row in table.rows} <= {len(table.headers)}, table.key
        assert {len(row) for row in table.csv_rows} <= {len(table.csv_headers)}, table.key
        assert not table.marks or len(table.marks) == len(table.rows), table.key
    assert len({table.key for table in tables}) == len(tables)


def test_calibration_is_called_so_wherever_it_is_printed(stored: Stored) -> None:
    published = terminal_tables(*stored)[-1]
    labels = {row[2] for row in published.rows if row[0] == "replica"}

    assert published.key == "published"
    assert labels == {"calibration"}
    afar = [row for row in published.rows if row[0] != "replica" and row[1] != "cdg"]
    assert {row[2] for row in afar} == {"prediction"}
    assert "calibration, not a finding" in markdown.render(*stored)


def test_the_story_of_the_variants_follows_the_numbers(stored: Stored) -> None:
    text = markdown.render(*stored)

    assert "multi costs 3.51 times what its single does from scl" in text
    assert "the means of multi come within 10 % of what was published" in text
    assert "and the medians of multi do not" in text
    assert "the article printed means" in text


def test_the_terminal_gets_a_table_per_deployment(stored: Stored) -> None:
    tables = terminal_tables(*stored)

    assert [table.key for table in tables[:4]] == [
        "ttfb-single",
        "ttfb-multi",
        "ttfb-replica",
        "ttfb-multi-mixed",
    ]
    for table in tables:
        assert all(len(row) == len(table.headers) == len(table.align) for row in table.rows)


def test_the_verdict_block_ends_with_the_verdict(stored: Stored) -> None:
    lines = verdict_block(stored[2])

    assert lines[-1] == "? the run is called inconclusive"
    assert lines[0] == "✓ ttfb.p95 < 100ms where deployment = replica  [cdg / replica]"
    assert lines[1] == f"    90.0 ms  [88.0, 95.0 ms]  limit {format_ms(100)}  n = 300: ✓ pass"


def test_texts_from_outside_never_become_markup(stored: Stored) -> None:
    """Titles, error kinds, worker names, versions, reasons, header values: none is trusted."""
    run, summary, verdict = stored
    assert run.engine is not None
    moment = MomentFacts(Signed(1.0), 90, 0.1, 0.0, 9e6, 90, 3)
    workers = tuple(
        dataclasses.replace(worker, id=EVIL, state=EVIL, timeline=(moment,))
        for worker in run.workers
    )
    deployments = tuple(d.model_copy(update={"title": EVIL}) for d in run.plan.deployments)
    evil_run = dataclasses.replace(
        run,
        plan=run.plan.model_copy(update={"title": EVIL, "deployments": deployments}),
        engine=dataclasses.replace(run.engine, workers=workers, versions={EVIL: EVIL}, run_id=EVIL),
        world=dataclasses.replace(
            run.world, kind=EVIL, link_layer=EVIL, machine=ComputerFacts(EVIL, None, None, None)
        ),
    )
    checks = tuple(dataclasses.replace(c, why=EVIL, ok=False) for c in summary.validity.checks)
    evil_summary = dataclasses.replace(
        summary,
        run=dataclasses.replace(summary.run, partial=True, reason=EVIL, title=EVIL, run_id=EVIL),
        cells=tuple(
            dataclasses.replace(
                cell,
                error_kinds={EVIL: 1},
                served_by={EVIL: 5},
                why_invalid=(EVIL,),
                valid=False,
                clocks={EVIL: 1},
            )
            for cell in summary.cells
        ),
        validity=dataclasses.replace(summary.validity, checks=checks),
    )
    evil_rule = dataclasses.replace(rule("syd", "fail"), why=EVIL, flip=EVIL, cell=EVIL)
    evil_verdict = dataclasses.replace(verdict, rules=(evil_rule,), sentence=EVIL, invalid=(EVIL,))

    page = html.render(evil_run, evil_summary, evil_verdict, command=f"loadtest run {EVIL}")

    assert "<script>alert" not in page
    assert page.count("<script>") == 1


def test_a_partial_run_is_marked(stored: Stored) -> None:
    run, summary, verdict = stored
    facts = dataclasses.replace(summary.run, partial=True, reason="stopped by Ctrl-C")
    cut = dataclasses.replace(summary, run=facts)

    assert "Partial run" in html.render(run, cut, verdict, command="")
    assert "> **Partial run** The run measured 30 s: stopped by Ctrl-C" in markdown.render(
        run, cut, verdict
    )


def test_two_revisions_and_two_scenarios(tmp_path: Path) -> None:
    """The headline tells how the candidate moved; every scenario has its matrix."""
    arms = tuple(Deployment(name=name, fly_toml="fly.toml") for name in ("base", "candidate"))
    effects = Effects(arm_shift_ms={"candidate": 20.0}, scenarios=("browse", "search"))
    plan = make_plan(deployments=arms, thresholds=())
    run = load_run(write_run(tmp_path / "two", plan, seconds=30, seed=3, effects=effects))
    summary = summarise(run)
    report = build_report(run, summary, verdict_of("none"))
    page = html.render(run, summary, verdict_of("none"), command="")
    ids = re.findall(r'\sid="([^"]+)"', page)

    assert re.match(r"The candidate's median TTFB moves by \+\d\d\.\d ms to", report.headline)
    assert len(ids) == len(set(ids))
    assert "scenario search" in page
    assert any(
        block.text.startswith("What candidate saves")
        for section in report.sections
        for block in section.blocks
        if isinstance(block, Heading)
    )


def test_patterns_have_sections_of_their_own_and_say_where_they_break_down(tmp_path: Path) -> None:
    names = ("GET /fragments [hit]", "GET /fragments [miss]", "V [before: counted 2]")
    effects = Effects(scenarios=("cache-hit", "n-plus-one", "double-effect", "jobs"), names=names)
    plan = make_plan(thresholds=())
    run = load_run(write_run(tmp_path / "atlas", plan, seconds=30, seed=3, effects=effects))
    report = build_report(run, summarise(run), verdict_of("none"))
    keys = [section.key for section in report.sections]
    expected = ["n-plus-one", "caches", "double", "jobs", "breakdown"]
    assert [key for key in keys if key in (*WORDS, "breakdown")] == expected
    tables = [b for s in report.sections for b in s.blocks if isinstance(b, Table)]
    found = {table.key: table for table in tables}
    assert len(found["breakdown"].rows) == 4
    for key in expected[:-1]:
        table = found[f"pattern-{key}"]
        assert all(len(row) == len(table.headers) for row in table.rows)
        assert all(len(row) == len(table.csv_headers) for row in table.csv_rows)
    assert "100 %: counted twice, before the write" in found["breakdown"].rows[2][2]


def test_a_lost_worker_shows_in_cell_and_strip(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "lost", make_plan(), seconds=30, seed=2, effects=Effects(lost_worker="syd")
    )
    run = load_run(folder)
    text = markdown.render(run, summarise(run), verdict_of("invalid"))
    page = html.render(run, summarise(run), verdict_of("invalid"), command="")

    assert re.search(r"\| syd \|.*⊘ invalid", text)
    assert "worker syd-0 was lost" in page


def test_a_look_that_asked_for_more_load_is_marked_where_the_next_block_begins(
    stored: Stored,
) -> None:
    run, summary, verdict = stored
    assert run.engine is not None
    half = dataclasses.replace(run.engine, segments=(SegmentFacts(0, 9), SegmentFacts(1, 8)))
    context = Context(dataclasses.replace(run, engine=half), summary, verdict, "")
    expected = run.frame["intended_us"][run.frame["block"] >= 9].min() / 1e6

    (look,) = [one for one in events_in(context, "ord") if one.kind.startswith("look")]
    assert look.t_s == pytest.approx(expected)
    assert events_in(Context(run, summary, verdict, ""), "ord") == []


def test_a_run_that_measured_nothing_still_has_a_report(tmp_path: Path) -> None:
    """Every request failed: no median, no curve, but a page that says so."""
    effects = Effects(timeout_share=1.0)
    run = load_run(write_run(tmp_path / "dead", make_plan(), seconds=10, seed=1, effects=effects))
    summary, verdict = summarise(run), verdict_of("fail")

    assert build_report(run, summary, verdict).headline == (
        "In no cell did half of the requests succeed: 1200 × no answer in time"
    )
    assert "failed" in html.render(run, summary, verdict, command="")


def test_the_report_lands_in_the_run_folder(stored: Stored, tmp_path: Path) -> None:
    pages = write_report(tmp_path, *stored, COMMAND)

    assert [path.name for path in pages] == ["report.html", "report.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]
    assert pages[0].read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_names_what_was_measured(stored: Stored) -> None:
    run, summary, verdict = stored
    arms = (
        Deployment(name="base", url="https://me:secret@shop.example/a?b=c", title="1a2b3c Old"),
        Deployment(name="candidate", url="https://shop2.example", title="working tree"),
    )
    run = dataclasses.replace(run, plan=run.plan.model_copy(update={"deployments": arms}))
    facts = dict(build_report(run, summary, verdict, command=COMMAND).facts)

    assert facts["Target"] == "https://shop.example/a?b=c, https://shop2.example"
    assert facts["Revisions"] == "base: 1a2b3c Old; candidate: working tree"
    assert facts["Command"] == COMMAND
    assert facts["Pages"] == "GET /recipes"
    assert facts["Protocol"] == "HTTP/1.1, no TLS"
    assert facts["Machine"] == "2 CPUs, 8.0 GB, Linux-6.1.0-x86_64"


def test_a_report_names_the_protocol_by_deployment_where_they_differ(stored: Stored) -> None:
    run, summary, verdict = stored
    cells = [
        dataclasses.replace(
            cell,
            protocols={"2": cell.n},
            phases={**cell.phases, "tls": cell.phases["wait"]},
        )
        if cell.deployment == "multi"
        else cell
        for cell in summary.cells
    ]
    told = build_report(run, dataclasses.replace(summary, cells=tuple(cells)), verdict).facts
    said = dict(told)["Protocol"]
    assert "single: HTTP/1.1, no TLS" in said
    assert "multi: HTTP/2, TLS" in said


def test_how_to_reproduce_holds_only_commands_that_work(stored: Stored) -> None:
    """The folder's own name is no path from anywhere else; an unknown command is left out."""
    codes = [
        block
        for section in build_report(*stored).sections
        for block in section.blocks
        if isinstance(block, Code)
    ]

    assert [code.text for code in codes] == ["loadtest analyze ."]


def test_pages_have_a_matrix_curves_and_lines_on_the_terminal(tmp_path: Path) -> None:
    rule = 'ttfb.p50 < 9s where name = "GET /<b>" and region = syd for each deployment'
    plan = make_plan(thresholds=(rule,))
    effects = Effects(names=("GET /<b>", "GET /b?q=1"))
    run = load_run(write_run(tmp_path / "pages", plan, seconds=30, seed=3, effects=effects))
    summary = summarise(run)
    verdict = judge(run, summary)
    report = build_report(run, summary, verdict)
    (pages,) = (section for section in report.sections if section.key == "pages")
    (matrix,) = (block for block in pages.blocks if isinstance(block, Matrix))

    places = {(page, region) for page, region, _ in matrix.rows}
    assert places == {(page, region) for page in effects.names for region in plan.regions}
    decided = {
        (page, region, cell.name): cell.decision
        for page, region, cells in matrix.rows
        for cell in cells
        if cell is not None
    }
    assert {key for key, word in decided.items() if word == "pass"} == {
        ("GET /<b>", "syd", name) for name in ("single", "multi", "replica")
    }
    text = html.render(run, summary, verdict, command="")
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "GET /<b>" not in text
    tables = [t for t in terminal_tables(run, summary, verdict) if t.key.startswith("pages-")]
    assert [t.key for t in tables] == [f"pages-{name}" for name in ("single", "multi", "replica")]
    assert [row[:2] for row in tables[0].rows][:2] == [("GET /<b>", "cdg"), ("GET /<b>", "ord")]
    assert re.search(r"^\| GET /\S*b\S*, cdg \|", markdown.render(run, summary, verdict), re.M)
