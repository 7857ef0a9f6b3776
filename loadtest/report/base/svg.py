"""From a matplotlib figure to a piece of SVG that lives inside a page and takes its colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final, cast

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from loadtest.report.base.style import RC, ROLES
from loadtest.text import lines_of, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLACEHOLDER: Final = re.compile("|".join(ROLES.values()))
_VARIABLES: Final = {colour: f"var(--fig-{role})" for role, colour in ROLES.items()}
_REFERENCE: Final = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_ID: Final = re.compile(r' id="([^"]+)"')
_FONT: Final = re.compile(r"'DejaVu Sans'[^;\"]*")
_DIGITS: Final = re.compile(r"-?\d+\.\d{3,}")


@contextmanager
def canvas(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure of the house style; draw on it and call ``inline`` inside the block."""
    with mpl.rc_context(cast(Any, RC)):
        figure = Figure(figsize=(width_in, height_in))
        FigureCanvasSVG(figure)
        yield figure


def plot_area(
    figure: Figure, *, left: float, bottom: float, right: float = 8, top: float = 26
) -> Axes:
    """
    Return axes that leave margins of the given points, whatever the figure's size.

    Fixed margins are what makes panels of one row line up; automatic layout measures every text and
    costs more than all the drawing.
    """
    width, height = (side * 72 for side in figure.get_size_inches())
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure.add_axes(box)


def inline(figure: Figure, name: str, title: str, description: str) -> str:
    """
    Render a figure as an ``<svg>`` element for inclusion in HTML.

    The result has no fixed size, no colour of its own, no id that could meet another figure's, and
    says in words what it shows.

    Args:
        figure: Drawn inside ``canvas``.
        name: Unique in the page; letters, digits and dashes.
        title: Accessible name.
        description: One or two sentences with what a reader should see.

    Returns:
        Markup; the same bytes for the same drawing.
    """
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # a letter that the font lacks is a page's to show, which has other fonts
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        buffer = io.StringIO()
        figure.canvas.print_figure(buffer, format="svg", metadata={"Date": None}, dpi=72)
    body = lines_of(buffer.getvalue())
    body = body[body.index("<svg") :].strip()
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.S)
    body = re.sub(r"<style[^>]*>.*?</style>\s*", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.S)
    body = re.sub(r"<defs>\s*</defs>\s*", "", body)
    body = _own_ids(body, name)
    body = _PLACEHOLDER.sub(lambda match: _VARIABLES[match[0]], body)
    body = _FONT.sub("var(--fig-font)", body)
    body = _DIGITS.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), body)
    body = re.sub(r">\s+<", "><", body)
    view = re.search(r'viewBox="([^"]+)"', body)
    assert view is not None
    inner = body[body.index(">") + 1 :]
    return (
        f'<svg class="figure" viewBox="{view[1]}" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(one_line(title))}</title>'
        f'<desc id="{name}-desc">{escape(one_line(description))}</desc>{inner}'
    )


def _own_ids(body: str, name: str) -> str:
    """Prefix the ids that something refers to, drop the rest: two figures share one page."""
    used = set(_REFERENCE.findall(body))

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    body = _ID.sub(rename, body)
    return _REFERENCE.sub(lambda match: match[0].replace("#", f"#{name}-", 1), body)
