"""
The names that pages go by: those of the requests, or, of more than anybody reads, what they share.

A run may name more requests than ``MAX_PAGES``.  Then names that differ only in an id share a
page, ``GET /recipes/17`` and ``GET /recipes/18`` that of ``GET /recipes/{id}``; where that does not
suffice, so do names that differ in the values of a query.  Of what is left the ``MAX_PAGES`` most
frequent have a page of their own in every cell, the others share one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from typing import Final

import numpy as np

from loadtest.analysis.cells import codes_of
from loadtest.analysis.load import Run
from loadtest.records.layout import OTHER

MAX_PAGES: Final = 20
OTHER_PAGES: Final = OTHER

_SEGMENT: Final = re.compile(r"(?<=/)[^/?#\s]*\d[^/?#\s]*")
_VERSION: Final = re.compile(r"v\d+(\.\d+)*")
_VALUE: Final = re.compile(r"([?&])([^=&#\s?]+)=[^&#\s]*")
_HOST: Final = re.compile(r"://[^/\s]*")


@lru_cache(maxsize=1 << 15)
def forms_of(name: str) -> tuple[str, str, str]:
    """Return a name, the name without its ids, and the name without its query's values either."""
    host = _HOST.search(name)
    end = host.end() if host else 0
    kind = name[:end] + _SEGMENT.sub(_without_id, name[end:])
    return name, kind, _VALUE.sub(r"\1\2={\2}", kind)


def _without_id(segment: re.Match[str]) -> str:
    return segment[0] if _VERSION.fullmatch(segment[0]) else "{id}"


def page_names(run: Run) -> tuple[str, ...]:
    """Return the names that have a page of their own, in alphabetical order."""
    codes, words = codes_of(run.frame, "name")
    counts = np.bincount(codes, minlength=len(words)).tolist()
    asked = {word: n for word, n in zip(words, counts, strict=True) if word not in ("", OTHER)}
    pages = asked
    for form in (1, 2):
        if len(pages) <= MAX_PAGES:
            break
        pages = _shared(asked, form)
    ranked = sorted(pages, key=lambda page: (-pages[page], page))
    return tuple(sorted(ranked[:MAX_PAGES]))


def _shared(asked: dict[str, int], form: int) -> dict[str, int]:
    """Return how often each page was asked for where names of one form share a page."""
    alike = Counter(forms_of(word)[form] for word in asked)
    pages: dict[str, int] = {}
    for word, n in asked.items():
        page = forms_of(word)[form]
        page = page if alike[page] > 1 else word
        pages[page] = pages.get(page, 0) + n
    return pages


def page_of(name: str, pages: Collection[str]) -> str:
    """Return the page of a request's name: its own, one that it shares, or that of the rest."""
    if name in pages:
        return name
    return next((form for form in forms_of(name) if form in pages), OTHER_PAGES)


def names_sharing(run: Run, pages: Collection[str]) -> dict[str, int]:
    """Return how many names share each page that several share."""
    words = codes_of(run.frame, "name")[1]
    count = Counter(page_of(word, pages) for word in words if word not in ("", OTHER))
    return {page: n for page, n in count.items() if n > 1}
