"""What is handed on of a run: a page without ties to its folder, a picture of the matrix."""

from __future__ import annotations

import dataclasses
import re
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from synth import make_plan, write_run

from loadtest.cli import cli
from loadtest.errors import RecordsError
from loadtest.report.base.view import Matrix, Report
from loadtest.report.figures.picture import draw_picture
from loadtest.report.pages.html import render_view
from loadtest.report.pages.model import build_report
from loadtest.report.pages.share import picture, shareable
from loadtest.run.judge import find_folder, judge_stored
from loadtest.terminal import Terminal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("runs")
    return write_run(root / "stored", make_plan(), seconds=10, seed=3)


@pytest.fixture(scope="module")
def view(folder: Path) -> Report:
    return build_report(*judge_stored(find_folder(folder)), command="loadtest run SECRET-HOST")


def test_a_shared_page_has_the_verdict_and_no_tie_to_its_folder(view: Report) -> None:
    page, whole = render_view(shareable(view)), render_view(view)

    assert view.headline in page
    assert 'id="matrix"' in page
    assert 'id="gate"' in page
    for gone in ("SECRET-HOST", "records.parquet", "data:text/csv", "loadtest analyze", "Machine<"):
        assert gone in whole
        assert gone not in page
    assert {link[0] for link in re.findall(r'href="([^"]*)"', page)} <= {"#", "d"}


def matrix_of(view: Report) -> Matrix:
    block = view.sections[0].blocks[0]
    assert isinstance(block, Matrix)
    return block


def test_a_picture_shows_the_decision_of_every_cell(view: Report) -> None:
    """Each decision colours its cell; what a text says is drawn and never read as a formula."""
    shown = matrix_of(view)
    words = ("pass", "fail", "inconclusive", "invalid")
    region, _, cells = shown.rows[0]
    (first, *_) = [cell for cell in cells if cell is not None]
    rows = tuple(
        (region, "$x^2$", (dataclasses.replace(first, decision=word), None, None)) for word in words
    )
    image = imread(BytesIO(draw_picture(view, dataclasses.replace(shown, rows=rows))))
    found = {tuple((pixel[:3] * 255).round().astype(int)) for pixel in image[:, 450]}

    assert {(227, 243, 234), (252, 233, 231), (251, 240, 215), (238, 233, 249)} <= found


def test_a_picture_is_as_wide_as_it_has_deployments_and_never_varies(view: Report) -> None:
    assert picture(view) == picture(view)
    wide, narrow = (
        imread(BytesIO(draw_picture(view, one))).shape for one in _wide_and_narrow(view)
    )
    assert wide[1] > narrow[1]
    assert wide[0] == narrow[0]


def _wide_and_narrow(view: Report) -> tuple[Matrix, Matrix]:
    shown = matrix_of(view)
    rows = tuple((region, city, (*cells, *cells)) for region, city, cells in shown.rows)
    return dataclasses.replace(shown, columns=shown.columns * 2, rows=rows), shown


def test_a_run_without_a_cell_has_no_picture(view: Report) -> None:
    with pytest.raises(RecordsError, match="no cell was measured"):
        picture(dataclasses.replace(view, sections=()))


def test_the_command_writes_both_and_names_them(folder: Path, tmp_path: Path) -> None:
    page, image = tmp_path / "share.html", tmp_path / "matrix.png"
    args = ["report", str(folder), "--share", str(page), "--png", str(image)]
    done = CliRunner().invoke(cli, args, obj=Terminal(), standalone_mode=False)

    assert done.exception is None
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert image.read_bytes().startswith(b"\x89PNG")
