"""Figures: what they say, what they never carry into the page, what their axes show."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.report.base.events import TimelineEvent
from loadtest.report.base.scales import MOST_TICKS, linear_ticks, log_limits, log_ticks
from loadtest.report.base.style import ROLES, arm_styles
from loadtest.report.base.svg import canvas, inline
from loadtest.report.figures.connections import Dumbbell, draw_connections
from loadtest.report.figures.distribution import Curve, draw_distribution
from loadtest.report.figures.parts import Bar, draw_parts
from loadtest.report.figures.published import Pair, draw_published
from loadtest.report.figures.shift import ShiftCurve, draw_shift
from loadtest.report.figures.strip import Track, draw_strip, mark_labels

STYLES = arm_styles({"single": "", "multi": "", "multi-mixed": "multi"})
LIMITS = (40.0, 600.0)


def distribution() -> str:
    curve = Curve("multi", STYLES["multi"], [100.0, 200.0, 300.0], [0.3, 0.6, 0.96], 1_234)
    return draw_distribution("ord", "ord <Chicago>", [curve], LIMITS, 104.0)


def shift() -> str:
    numbers = ShiftCurve([5, 50, 95], [-10.0, -20.0, -30.0], [-12, -22, -33], [-8, -18, -27], 300)
    return draw_shift(
        "ord",
        "ord Chicago",
        numbers,
        names=("multi", "single"),
        style=STYLES["single"],
        limits_ms=(-40, 5),
    )


def parts() -> str:
    bar = Bar("multi", {"network": 0.5, "database network": 208.0, "app": 50.0}, 258.5, 300)
    return draw_parts("ord", "ord Chicago", [bar], limit_ms=300.0, rtt_ms=104.0, label_pt=40.0)


def strip() -> str:
    track = Track("multi", STYLES["multi"], [1.0, 3.0], [250.0, 260.0], [280.0, 300.0], 300)
    events = [TimelineEvent(2.0, "worker lost")]
    return draw_strip(
        "ord", "ord Chicago", [track], events, warmup_s=1.0, end_s=4.0, limits_ms=LIMITS
    )


def published() -> str:
    return draw_published([Pair("ord", "multi", STYLES["multi"], 258.0, 259.5, (239.0, 260.0))])


def connections() -> str:
    cell = Dumbbell("multi", STYLES["multi"], 250.0, 255.0, 300, 30)
    return draw_connections("ord", "ord Chicago", [cell], LIMITS, 40.0)


DRAWINGS = [distribution, shift, parts, strip, published, connections]


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_a_figure_takes_every_colour_and_the_font_from_the_page(
    draw: Callable[[], Any],
) -> None:
    """A colour of its own would be wrong in one of the themes."""
    svg = draw()

    assert not re.findall(r"#[0-9a-fA-F]{6}\b", svg)
    assert not [colour for colour in ROLES.values() if colour in svg]
    assert "DejaVu" not in svg
    assert "<style" not in svg


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_a_figure_says_in_words_what_it_shows(
    draw: Callable[[], Any],
) -> None:
    """Title and description are what a screen reader has."""
    tree = ElementTree.fromstring(draw())
    title, description = tree[0], tree[1]

    assert tree.get("role") == "img"
    assert tree.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text
    assert re.search(r"\d", description.text or "")


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_the_same_data_draw_the_same_bytes(
    draw: Callable[[], Any],
) -> None:
    """Re-analysis of a stored run changes nothing."""
    assert draw() == draw()


def test_every_panel_names_its_n_and_its_unit() -> None:
    assert "n = 1,234" in distribution()
    assert "n = 300 per arm" in shift()
    for svg in (distribution(), parts(), strip(), published(), connections()):
        assert re.search(r"\bms\b", svg)


def test_texts_are_escaped_inside_a_figure() -> None:
    assert "ord &lt;Chicago&gt;" in distribution()


def test_a_figure_holds_nothing_that_turns_a_page_or_a_terminal(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Names come from outside; a letter that the font lacks is no warning on a terminal either."""
    hostile = "a\x1b[2J\u202eb\N{COLLISION SYMBOL}"
    with canvas(2, 1) as figure:
        figure.text(0, 0, hostile)
        svg = inline(figure, "odd", hostile, hostile)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", svg)
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_figures_of_one_page_share_no_id() -> None:
    """Two elements of one id would take each other's clip paths."""
    ids = [name for draw in DRAWINGS for name in re.findall(r' id="([^"]+)"', draw())]

    assert len(ids) == len(set(ids))


def test_a_figure_refers_only_to_ids_that_it_has() -> None:
    svg = distribution()
    refs = re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)

    assert refs
    assert set(refs) <= set(re.findall(r' id="([^"]+)"', svg))


def test_a_variant_keeps_its_originals_colour_and_changes_the_line() -> None:
    original, variant = STYLES["multi"], STYLES["multi-mixed"]

    assert original.role == variant.role
    assert original.dash != variant.dash
    assert variant.hollow


def test_more_arms_than_colours_still_look_different() -> None:
    styles = arm_styles({f"arm-{number}": "" for number in range(20)})

    assert len({(style.role, str(style.dash)) for style in styles.values()}) == 20


@given(
    low=st.floats(0.01, 1e4),
    ratio=st.floats(2, 1e5),
)
@settings(max_examples=60)
def test_log_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)

    assert 1 <= len(ticks) <= MOST_TICKS
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(low=st.floats(-1e4, 1e4), span=st.floats(0.01, 1e5))
@settings(max_examples=60)
def test_linear_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = linear_ticks(low, low + span)

    assert len(ticks) <= MOST_TICKS + 1
    assert all(low - span * 0.01 <= tick <= low + span * 1.01 for tick in ticks)


def test_log_limits_skip_what_has_no_place_on_the_axis() -> None:
    low, high = log_limits([0.0, float("inf"), float("nan"), 50.0, 500.0])

    assert 0 < low < 50
    assert 500 < high < 1_000
    assert log_limits([]) == (1.0, 1000.0)


def test_numbers_of_marks_that_are_close_stand_as_one() -> None:
    assert mark_labels([], 2.0) == []
    assert mark_labels([4.0, 8.0, 8.0, 9.5, 10.5, 30.0], 2.0) == [
        (1, 1, 4.0),
        (2, 4, 8.0),
        (5, 5, 10.5),
        (6, 6, 30.0),
    ]
