"""The matrix as a picture for a chat: verdict, headline, a cell for each region and deployment."""

from __future__ import annotations

import io
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from loadtest.report.base.words import DECISIONS, decision
from loadtest.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from loadtest.report.base.view import Matrix, MatrixCell, Report

_TONES: Final = {
    "pass": ("#0a6640", "#e3f3ea"),
    "fail": ("#ab1f17", "#fce9e7"),
    "inconclusive": ("#7a5200", "#fbf0d7"),
    "invalid": ("#5a3d99", "#eee9f9"),
}
"""Decision -> ink and ground, as the page has them in its light theme."""

_NONE: Final = ("#545d67", "#ffffff")
_INK, _SOFT, _LINE = "#1a1d21", "#545d67", "#dfe2e5"
_DPI: Final = 144
_HEAD_IN, _NAMES_IN, _ROW_IN, _FOOT_IN = 1.35, 0.45, 0.82, 0.4
_EDGE_IN, _REGION_IN, _COLUMN_IN = 0.35, 1.25, 2.3
_LEAST_IN: Final = 7.0
_MOST_LINES: Final = 2
_LETTERS_AN_INCH: Final = 9.5


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Paper to draw on: inches from the upper left corner."""

    axes: Axes
    column_in: float

    def write(self, x: float, y: float, text: str, size: float, **look: str) -> None:
        found: dict[str, Any] = {"color": _INK, "va": "top", **look}
        self.axes.text(x, y, one_line(text), fontsize=size, **found)

    def box(self, x: float, y: float, colour: str) -> None:
        drawn = Rectangle((x, y), self.column_in, _ROW_IN, facecolor=colour)
        drawn.set(edgecolor=_LINE, linewidth=0.8)
        self.axes.add_patch(drawn)


def draw_picture(report: Report, matrix: Matrix) -> bytes:
    """
    Return a PNG image of a matrix with the verdict above it; light, whatever the reader's theme.

    Args:
        report: Has verdict, headline, date.
        matrix: Its variants are left out: a picture for a chat is read on a telephone.
    """
    columns = len(matrix.columns)
    width = max(_LEAST_IN, 2 * _EDGE_IN + _REGION_IN + columns * _COLUMN_IN)
    height = _HEAD_IN + _NAMES_IN + len(matrix.rows) * _ROW_IN + _FOOT_IN
    with mpl.rc_context({"font.family": ["DejaVu Sans"], "text.parse_math": False}):
        figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        sheet = _Sheet(axes, (width - 2 * _EDGE_IN - _REGION_IN) / columns)
        _draw_head(sheet, report, width)
        _draw_rows(sheet, matrix)
        foot = f"{matrix.caption} · {report.subtitle}"
        sheet.write(_EDGE_IN, height - 0.26, foot, 7.5, color=_SOFT)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_head(sheet: _Sheet, report: Report, width: float) -> None:
    sign, word = DECISIONS[report.verdict]
    shown = "no gate" if report.verdict == "none" else word
    tone = _TONES.get(report.verdict, _NONE)[0]
    sheet.write(_EDGE_IN, 0.28, f"{sign} {shown.upper()}", 11, color=tone, weight="bold")
    lines = wrap(report.headline, int(_LETTERS_AN_INCH * width))
    for number, line in enumerate(lines[:_MOST_LINES]):
        more = "…" if number + 1 == _MOST_LINES < len(lines) else ""
        sheet.write(_EDGE_IN, 0.58 + 0.26 * number, line + more, 11, weight="bold")


def _draw_rows(sheet: _Sheet, matrix: Matrix) -> None:
    left = [_EDGE_IN + _REGION_IN + place * sheet.column_in for place in range(len(matrix.columns))]
    for x, head in zip(left, matrix.columns, strict=True):
        sheet.write(x + 0.14, _HEAD_IN + 0.14, head.name, 10, weight="bold")
    for number, (region, city, cells) in enumerate(matrix.rows):
        y = _HEAD_IN + _NAMES_IN + number * _ROW_IN
        sheet.write(_EDGE_IN, y + 0.16, region, 11, weight="bold")
        sheet.write(_EDGE_IN, y + 0.48, city, 8, color=_SOFT)
        for x, cell in zip(left, cells, strict=True):
            if cell is None:
                sheet.box(x, y, _NONE[1])
                sheet.write(x + 0.14, y + 0.3, "not measured", 8, color=_SOFT)
            else:
                _draw_cell(sheet, x, y, cell)


def _draw_cell(sheet: _Sheet, x: float, y: float, cell: MatrixCell) -> None:
    ink, ground = _TONES.get(cell.decision, _NONE)
    sheet.box(x, y, ground)
    sheet.write(x + 0.14, y + 0.14, cell.p50, 13, weight="bold")
    sheet.write(x + 0.14, y + 0.5, f"p95 {cell.p95}", 8, color=_SOFT)
    if cell.decision in _TONES:
        right = x + sheet.column_in - 0.12
        sheet.write(
            right, y + 0.18, decision(cell.decision), 8, color=ink, ha="right", weight="bold"
        )
