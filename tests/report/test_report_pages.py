"""The page and the markdown as such, from a view made by hand: escaping, structure, downloads."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import RecordsError
from loadtest.report.base.view import (
    Callout,
    Code,
    Definitions,
    Figures,
    Files,
    Heading,
    Key,
    Matrix,
    MatrixCell,
    MatrixColumn,
    Report,
    Section,
    Table,
    Text,
)
from loadtest.report.base.words import slug
from loadtest.report.pages import html, markdown
from loadtest.report.pages.write import write_whole

EVIL = "<script>alert(1)</script>\"'`|*_[x](javascript:y)&"
VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "path", "use", "circle", "line"}


def page_of(text: str) -> Report:
    """A view with every kind of block, each string of it being the given text."""
    cell = MatrixCell(text, text, text, text, text, text, (text,), "fail", (10.0, 5.0, 2.0))
    outer = MatrixCell(
        text, text, text, text, text, text, (text,), "pass", (10.0, 5.0, -1.0), (cell,)
    )
    matrix = Matrix(
        "m", text, (MatrixColumn(text, text, "arm-1"),), ((text, text, (outer,)),), text
    )
    table = Table(
        "t",
        text,
        (text, text),
        ((text, text), (text, "✓ pass")),
        "lr",
        text,
        ("", "pass"),
        details=(text, text),
    )
    figures = Figures(text, lambda: ["<svg></svg>"], (Key(text, "arm-1"),), notes=(text,))
    blocks = (
        matrix,
        table,
        Text(text),
        Callout("invalid", text),
        Heading(text),
        Code(text, text),
        Files((("records.parquet", text),)),
        Definitions(((text, text),)),
        figures,
    )
    return Report(
        title=text,
        subtitle=text,
        headline=text,
        verdict="inconclusive",
        reasons=(text,),
        callouts=(Callout("note", text),),
        facts=((text, text),),
        sections=(Section("s", text, text, blocks),),
        footer=text,
    )


class Outline(HTMLParser):
    """Collects what the tests ask about and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert tag == self.open.pop()


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert not parsed.open
    return parsed


def test_no_text_becomes_markup() -> None:
    """Error texts, titles, machine names and header values come from outside."""
    page = html.render_view(page_of(EVIL))

    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert len([tag for tag, _ in outline(page).tags if tag == "script"]) == 1


def test_no_text_becomes_markdown() -> None:
    text = markdown.render_view(page_of("<b>|x|\n# y</b> *z*"))

    outside_code = "".join(text.split("```")[::2])

    assert "<b>" not in outside_code
    assert "\n# y" not in outside_code


def test_code_with_fences_stays_inside_its_fence() -> None:
    lines = markdown.render_view(page_of("a ``` b"))

    assert "````\na ``` b\n````" in lines


def test_the_page_asks_the_network_for_nothing() -> None:
    parsed = outline(html.render_view(page_of("text")))
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "action", "data"):
            address = attributes.get(name) or ""
            beside = re.fullmatch(r"[a-z]+\.(parquet|json|xml|csv)", address)
            assert not address or beside or address.startswith(("#", "data:")), f"{tag} {address}"


def test_tables_have_scopes_and_names() -> None:
    parsed = outline(html.render_view(page_of("text")))
    ids = {attributes.get("id") for _, attributes in parsed.tags}

    for tag, attributes in parsed.tags:
        if tag == "th":
            assert attributes.get("scope") in {"col", "row"}
        if tag == "table":
            assert attributes["aria-labelledby"] in ids


def test_ids_are_unique_and_links_inside_the_page_arrive() -> None:
    parsed = outline(html.render_view(page_of("text")))
    ids = [attributes["id"] for _, attributes in parsed.tags if attributes.get("id")]
    links = [a["href"] for tag, a in parsed.tags if tag == "a" and str(a["href"]).startswith("#")]

    assert len(ids) == len(set(ids))
    assert {str(link)[1:] for link in links} <= set(ids)


def test_a_decision_is_never_colour_alone() -> None:
    page = html.render_view(page_of("text"))

    assert "✕ fail" in page
    assert "✓ pass" in page
    assert re.search(r"badge.*?\?</span>inconclusive", page, re.S)


def test_every_table_downloads_as_csv() -> None:
    table = Table("t", "T", ("region", "n"), (("cdg", "1 200"),), "lr")
    raw = Table(
        "t", "T", ("region",), (("cdg",),), csv_headers=("a", "b"), csv_rows=(("x,y", 1.5),)
    )

    assert rows_of(html.csv_uri(table)) == [["region", "n"], ["cdg", "1 200"]]
    assert rows_of(html.csv_uri(raw)) == [["a", "b"], ["x,y", "1.5"]]


def test_a_text_that_a_spreadsheet_would_run_is_made_harmless() -> None:
    table = Table("t", "T", ("error",), (("=HYPERLINK(1)",), ("@x",), ("-5 ms",)))

    assert rows_of(html.csv_uri(table))[1:] == [["'=HYPERLINK(1)"], ["'@x"], ["-5 ms"]]


def rows_of(uri: str) -> list[list[str]]:
    packed = uri.removeprefix("data:text/csv;charset=utf-8;base64,")
    return list(csv.reader(io.StringIO(base64.b64decode(packed).decode("utf-8"))))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    write_whole(path, "new ✓")

    assert path.read_text(encoding="utf-8") == "new ✓"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"cannot write .*report\.html: .*--out"):
        write_whole(tmp_path / "gone" / "report.html", "x")


def test_control_characters_never_reach_a_page() -> None:
    hostile = "a\x1b[31m\x00b\x07\u202ec\ud800\u2028d"
    for page in (html.render_view(page_of(hostile)), markdown.render_view(page_of(hostile))):
        assert not {c for c in page if c < " "} - {"\n"}
        assert not set("\u202e\ud800\u2028\x7f") & set(page)
        page.encode("utf-8")


def test_a_cell_has_a_link_of_its_own() -> None:
    cell = MatrixCell("multi", "1 ms", "", "2 ms", "", "9", (), "pass", key="cell-cdg-multi-browse")
    matrix = Matrix("m", "c", (MatrixColumn("multi", "", "arm-1"),), (("cdg", "", (cell,)),), "n")
    report = dataclasses.replace(page_of("text"), sections=(Section("s", "S", "S", (matrix,)),))
    parsed = outline(html.render_view(report))

    assert any(a.get("id") == "cell-cdg-multi-browse" for _, a in parsed.tags)
    assert any(a.get("href") == "#cell-cdg-multi-browse" for tag, a in parsed.tags if tag == "a")


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_slugs_of_different_names_differ(names: list[str]) -> None:
    first, second = map(slug, names)

    assert first != second
    assert re.fullmatch(r"[\w.~-]*", first, re.ASCII)
