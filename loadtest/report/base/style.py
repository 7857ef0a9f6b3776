"""
The one style of every figure: roles instead of colours, sizes, fonts, line styles.

Figures are drawn with one placeholder colour per role.  ``svg.inline`` turns each placeholder into
a CSS variable, so that the page decides what a role looks like in its light, dark and print themes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

ARMS: Final = 6
"""Distinct arm colours; a further arm repeats them with another line style."""

_ROLE_NAMES: Final = (
    "ink",
    "muted",
    "rule",
    "surface",
    "shade",
    "event",
    "published",
    *(f"arm-{number}" for number in range(1, ARMS + 1)),
    "part-floor",
    "part-replay",
    "part-trips",
    "part-database",
    "part-app",
    "part-rest",
)
ROLES: Final[Mapping[str, str]] = {
    name: f"#0a0b{number:02x}" for number, name in enumerate(_ROLE_NAMES, start=0x10)
}
"""Role -> placeholder colour; the page's style sheet has a ``--fig-<role>`` for each."""

INK: Final = ROLES["ink"]
MUTED: Final = ROLES["muted"]
RULE: Final = ROLES["rule"]
SURFACE: Final = ROLES["surface"]
SHADE: Final = ROLES["shade"]
EVENT: Final = ROLES["event"]
PUBLISHED: Final = ROLES["published"]

Dash = str | tuple[int, tuple[float, ...]]
"""A line style of Matplotlib: its sign, or where it begins and the lengths of ink and gap."""

_LINES: Final[tuple[Dash, ...]] = ("-", (0, (5, 1.8)), (0, (1.2, 1.4)), (0, (5, 1.5, 1.2, 1.5)))
_MARKERS: Final = ("o", "s", "D", "^", "v", "P")

TEXT_PT: Final = 8.5
PANEL_IN: Final = (4.6, 2.75)
"""Width and height in inches of one region's panel; 72 points an inch."""

RC: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT_PT,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": TEXT_PT + 1.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.7,
    "patch.linewidth": 0.0,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": TEXT_PT - 0.5,
    "ytick.labelsize": TEXT_PT - 0.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 1.5,
    "path.simplify": True,
}


class LineLook(TypedDict):
    """What ``Axes.plot`` is told of a line."""

    color: str
    linestyle: Dash


class MarkerLook(TypedDict):
    """What ``Axes.plot`` is told of a marker."""

    marker: str
    markersize: float
    markeredgecolor: str
    markerfacecolor: str
    linestyle: str


@dataclass(frozen=True, slots=True)
class ArmStyle:
    """How one arm looks everywhere: ``role`` colours, ``dash`` and ``marker`` for who sees none."""

    role: str
    dash: Dash
    marker: str
    css_dash: str
    hollow: bool

    @property
    def colour(self) -> str:
        """Return the placeholder colour to draw with."""
        return ROLES[self.role]

    def line(self) -> LineLook:
        """Return what ``Axes.plot`` needs for this arm's line."""
        return {"color": self.colour, "linestyle": self.dash}

    def mark(self, size_pt: float) -> MarkerLook:
        """Return what ``Axes.plot`` needs for this arm's marker; a variant's is hollow."""
        return {
            "marker": self.marker,
            "markersize": size_pt,
            "markeredgecolor": self.colour,
            "markerfacecolor": "none" if self.hollow else self.colour,
            "linestyle": "none",
        }


_CSS_DASHES: Final = ("none", "6 3", "2 3", "7 3 2 3")


def arm_styles(arms: Mapping[str, str]) -> dict[str, ArmStyle]:
    """
    Give each arm a style that depends on its place in the plan only.

    Args:
        arms: Name of the arm -> name of the arm it is a variant of, or empty; in plan order.

    Returns:
        A style per arm.  A variant takes its original's colour and the next free line style.
    """
    styles: dict[str, ArmStyle] = {}
    families: dict[str, int] = {}
    members: dict[int, int] = {}
    for name, original in arms.items():
        family = families.setdefault(original or name, len(families))
        families.setdefault(name, family)
        wrap, slot = divmod(family, ARMS)
        member = members.get(slot, wrap)
        members[slot] = member + 1
        dash = member % len(_LINES)
        styles[name] = ArmStyle(
            role=f"arm-{slot + 1}",
            dash=_LINES[dash],
            marker=_MARKERS[slot % len(_MARKERS)],
            css_dash=_CSS_DASHES[dash],
            hollow=member > 0,
        )
    return styles
