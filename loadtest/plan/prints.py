"""
Prints of a plan: a hash of each of its parts, by which a later change of the stored plan shows.

The engine keeps those of the plan that it was ordered to run; a reader holds plan.json against
them.  Source of the hash: FIPS 180-4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

JUDGED: Final = frozenset({"thresholds", "gate", "validity", "title", "reproduce"})
"""Parts that decide how a run is judged and shown, not what is measured."""


def plan_prints(content: Mapping[str, object]) -> dict[str, str]:
    """
    Return a hash of each top-level part of a plan.

    Args:
        content: The plan as JSON has it (`Plan.to_json`).
    """
    return {
        key: sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:32]
        for key, part in content.items()
    }


def changed_parts(content: Mapping[str, object], prints: Mapping[str, str]) -> list[str]:
    """
    Return the parts of a plan that are not as they were, in alphabetical order.

    Args:
        content: The plan as JSON has it now.
        prints: Those of the plan as it was.
    """
    now = plan_prints(content)
    return sorted(key for key in {*now, *prints} if now.get(key) != prints.get(key))
