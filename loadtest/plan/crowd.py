"""
The crowd of the closed model: which user starts and stops when, as a pure function of the plan.

Users have numbers.  User n is of the n-th class of a sequence that gives every class its share at
every length, so a worker may take every k-th user and a crowd may shrink from its end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.plan.model import UserStep

NOBODY = -1
"""Stands for a class in a change that stops a user."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a class has of the crowd: ``fixed`` users first, then ``weight`` of the others."""

    weight: float
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """At ``at_s`` seconds user ``number`` is one of class ``kind``, or nobody any more."""

    at_s: float
    number: int
    kind: int


def kinds(shares: Sequence[Share], users: int) -> list[int]:
    """
    Return the class (index) of each of ``users`` users.

    Source: smooth weighted round-robin, as nginx balances upstreams: at every length each class
    has its share to within one.
    """
    found: list[int] = []
    for kind, share in enumerate(shares):
        found += [kind] * (share.fixed if share.weight or share.fixed else 0)
    weights = [0.0 if share.fixed else share.weight for share in shares]
    total, credit = sum(weights), [0.0] * len(shares)
    while len(found) < users and total > 0:
        credit = [has + weight for has, weight in zip(credit, weights, strict=True)]
        chosen = max((k for k, weight in enumerate(weights) if weight), key=credit.__getitem__)
        credit[chosen] -= total
        found.append(chosen)
    return found[:users]


def changes(
    names: Sequence[str], shares: Sequence[Share], steps: Sequence[UserStep], end_s: float
) -> list[Change]:
    """
    Return every start and stop of a user, in order of time.

    Args:
        names: Names of the classes.
        shares: What each has of the crowd.
        steps: How many users there are from when on; a rate of 0 starts all at once.
        end_s: When the load ends; what would change later does not.
    """
    alive: dict[int, int] = {}
    found: list[Change] = []
    for index, step in enumerate(steps):
        next_s = steps[index + 1].at_s if index + 1 < len(steps) else end_s
        played = [
            share if not step.scenarios or name in step.scenarios else Share(0.0)
            for name, share in zip(names, shares, strict=True)
        ]
        wanted = dict(enumerate(kinds(played, step.users)))
        stops = [n for n in sorted(alive, reverse=True) if wanted.get(n) != alive[n]]
        starts = [n for n in sorted(wanted) if wanted[n] != alive.get(n)]
        todo = [Change(step.at_s, n, NOBODY) for n in stops if n not in wanted]
        todo += [Change(step.at_s, n, wanted[n]) for n in starts]
        for place, change in enumerate(todo):
            at_s = step.at_s + (place / step.spawn_rate if step.spawn_rate else 0.0)
            if at_s >= min(next_s, end_s) and at_s > step.at_s:
                break
            found.append(Change(at_s, change.number, change.kind))
            if change.kind == NOBODY:
                alive.pop(change.number, None)
            else:
                alive[change.number] = change.kind
    return [change for change in found if change.at_s < end_s or math.isinf(end_s)]
