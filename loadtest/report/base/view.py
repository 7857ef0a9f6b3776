"""
What a report is made of, before it is HTML, markdown or a terminal: sections of blocks of text.

Every string here is plain text; each output escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Align = Literal["left", "right", "wide", "narrow"]

_ALIGN: Final[dict[str, Align]] = {"l": "left", "r": "right", "w": "wide", "n": "narrow"}


@dataclass(frozen=True, slots=True)
class Trend:
    """
    A number over the runs, oldest first, drawn as a small curve.

    Args:
        values: At least one.
        changes: Indexes at which a new level begins.
        words: The same for who does not see it.
    """

    values: tuple[float, ...]
    changes: tuple[int, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table of strings; the first column names the row.

    Args:
        key: Unique in the report: id of the element, name of the CSV file.
        title: Caption.
        headers: Column titles, with their unit.
        rows: As many strings each as there are headers.
        align: One letter a column: ``l``, ``r``, or ``w`` for a column of sentences.
        note: A sentence below; may be empty.
        marks: A decision word per row (``pass``, ``fail`` ...) or empty; may be empty as a whole.
        details: A sentence for each row, below it over the whole width; may be empty as a whole.
        trends: A small curve for each row, in a column of its own; may be empty as a whole.
        csv_headers: Columns of the download, unformatted; empty downloads the strings.
        csv_rows: Its rows.
    """

    key: str
    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    note: str = ""
    marks: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    trends: tuple[Trend, ...] = ()
    csv_headers: tuple[str, ...] = ()
    csv_rows: tuple[tuple[object, ...], ...] = ()

    def alignment(self, column: int) -> Align:
        """Return how a column is aligned; unnamed ones are left-aligned."""
        return _ALIGN.get(self.align[column : column + 1], "left")


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Callout:
    """A paragraph that must not be missed; ``kind`` is a decision word, ``partial`` or ``note``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy as it stands, such as a command; ``label`` says what it is."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Files:
    """Files that lie beside the report, by name, with what is in them."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms and what they mean."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: ``role`` of the style, ``dash`` as SVG wants it, or a filled patch."""

    text: str
    role: str
    dash: str = "none"
    patch: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """
    Panels with a shared legend.

    Args:
        caption: What to look for.
        draw: Makes the SVG of each panel; called by HTML only, as drawing is slow.
        legend: May be empty.
        wide: One panel over the whole width.
        notes: Numbered remarks below, such as events.
    """

    caption: str
    draw: Callable[[], Sequence[str]]
    legend: tuple[Key, ...] = ()
    wide: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """
    One cell of the region x deployment matrix; the texts are formatted.

    Args:
        name: Deployment (a variant's own name).
        p50: Median.
        p50_interval: Its 95 % interval.
        p95: 95th percentile, or why it is not shown.
        p95_interval: Its interval; may be empty.
        n: Sample size.
        small: Remaining facts: network floor, serving region, errors.
        decision: Decision word, or ``none``.
        track: Left and width in percent of the bar from median to p95 on the shared log axis, and
            the position of the floor's mark (negative: none); empty when there is nothing to draw.
        variants: Cells of this deployment's variants in the same region.
        key: Unique in the report: what a link to the cell ends in; empty for none.
    """

    name: str
    p50: str
    p50_interval: str
    p95: str
    p95_interval: str
    n: str
    small: tuple[str, ...]
    decision: str
    track: tuple[float, ...] = ()
    variants: tuple[MatrixCell, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class MatrixColumn:
    """A deployment's head in the matrix."""

    name: str
    title: str
    role: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """
    The region x deployment matrix; a row's cells are None where nothing was measured.

    ``named``: its rows have names of any length, as pages do, in place of a region's code.
    """

    key: str
    caption: str
    columns: tuple[MatrixColumn, ...]
    rows: tuple[tuple[str, str, tuple[MatrixCell | None, ...]], ...]
    note: str
    named: bool = False


Block = Table | Text | Callout | Heading | Code | Files | Definitions | Figures | Matrix


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report; ``short`` is its name in the table of contents."""

    key: str
    title: str
    short: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """
    The whole report.

    Args:
        title: For the browser's tab.
        headline: The result in a sentence.
        verdict: Decision word of the whole run.
        reasons: Sentences behind the verdict.
        callouts: What must be read before any number: partial, invalid.
        facts: Label and value pairs of the head.
        sections: In reading order.
        footer: One line.
        subtitle: Run and date, above the headline.
        downloads: Whether tables offer their numbers as CSV.
        badge: What stands in place of the verdict's word; empty leaves that.
    """

    title: str
    headline: str
    verdict: str
    reasons: tuple[str, ...]
    callouts: tuple[Callout, ...]
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    footer: str = ""
    subtitle: str = ""
    badge: str = ""
    downloads: bool = True
