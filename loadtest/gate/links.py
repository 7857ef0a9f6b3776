"""
Round trips that links counted: what they can tell, and what they cannot.

Links count all that a deployment's machines send, so a pool's own pings and new connections are
among it, and no page has a number of its own.  How many there were of those is a matter of how long
connections were idle: it differs between identical arms, the more the fewer their requests.  So
what is above whole numbers is noise: Bernoulli trials, which to fail have to come together as the
seven of a new connection do.  And arms that were asked for other pages differ for that reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from loadtest.analysis.special import normal_tail
from loadtest.gate.evidence import Measurement, sign_of
from loadtest.gate.questions import Question, SampleSource
from loadtest.gate.shown import show

OWN_TRIPS: Final = 0.02
"""Round trips a request that a pool may spend of its own accord before a limit is broken."""
_RAREST: Final = 0.02
"""Pages that are asked for less often are not looked for: pings alone would be as much."""
_TOGETHER: Final = 7.0
"""Round trips of a new connection: TCP 1, SSLRequest 1, TLS 2, SCRAM 2, and being opened 1."""


def with_links(found: Measurement, question: Question, samples: SampleSource) -> Measurement:
    """
    Return evidence on round trips as far as links can tell them, with a word on who counted.

    A limit is broken by more than pings explain.  A margin against another arm is kept only where
    the whole difference would keep it on the rarest page, too.

    Args:
        found: The evidence, were each request's own round trips known.
        question: What was asked, of a metric of counts.
        samples: Tells what links counted, and how rare pages are.
    """
    pages = samples.pages_on_links(question.cells), samples.pages_on_links(question.others)
    here, there = (min(shares.values(), default=0.0) for shares in pages)
    if not here and not there:
        return found
    if question.others and bool(here) != bool(there):
        arms = (question.cells[0].deployment, question.others[0].deployment)
        links, app = arms if here else arms[::-1]
        note = f"Links counted the round trips of {links}, the app told those of {app}."
    else:
        note = "Links counted them, so no page has a number of its own."
    found = replace(found, note=note)
    if found.lacking:
        return found
    if not question.others:
        return _against_limit(found, question)
    if question.rule.kind != "baseline":
        return found
    noise = _noise(question, samples)
    found = replace(
        found,
        p_fail=max(found.p_fail, normal_tail((found.excess - _other_pages(found, *pages)) / noise)),
        p_pass=max(found.p_pass, normal_tail(-found.excess * math.sqrt(_TOGETHER) / noise)),
    )
    return _against_margin(found, max(_RAREST, min(share for share in (here, there) if share)))


def _noise(question: Question, samples: SampleSource) -> float:
    """Return the standard error of two arms' difference, were their own round trips to cluster."""
    variance = 0.0
    for cells in (question.cells, question.others):
        trips = samples.sample(cells, question.rule.measure).values
        broken = trips - np.floor(trips)
        # one more, as of a share of which nothing was seen
        variance += (float((broken * (1 - broken)).sum()) + 1) / max(trips.size, 1) ** 2
    return math.sqrt(_TOGETHER * variance)


def _other_pages(
    found: Measurement, here: Mapping[str, float], there: Mapping[str, float]
) -> float:
    """
    Return what identical arms may differ by because they were asked for other pages.

    By the inequality of Cauchy and Schwarz it is at most the distance of their shares times the
    spread of what pages take, which is supposed to be no more than their mean.
    """
    if not here or not there:
        return 0.0
    both = {page: (here.get(page, 0.0), there.get(page, 0.0)) for page in {*here, *there}}
    distance = sum((a - b) ** 2 / ((a + b) / 2) for a, b in both.values())
    return math.sqrt(distance) * (found.base or 0.0)


def _against_limit(found: Measurement, question: Question) -> Measurement:
    """Allow for a pool's own round trips where the rule's limit allows its own value."""
    above = question.rule.comparator == "<=" and sign_of(question.rule) > 0
    if not above or not 0 < found.excess <= OWN_TRIPS:
        return found
    note = f"{found.note} A pool's own pings are among them: up to {OWN_TRIPS:g} are allowed for."
    return replace(found, p_fail=1.0, p_pass=0.0, note=note)


def _against_margin(found: Measurement, rarest: float) -> Measurement:
    """Pass only what would be within the margin were all but pings the rarest page's."""
    on_page = found.observed / rarest
    if rarest >= 1 or found.observed - OWN_TRIPS <= found.limit * rarest:
        return found
    unseen = (
        f"Were the difference all of one page with {show(rarest, 'share')} of the requests, that "
        f"page would have {on_page:.2f} more; let the app tell its round trips (Server-Timing)."
    )
    return replace(found, p_pass=1.0, unseen=unseen)
