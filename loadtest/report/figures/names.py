"""Names and roles that figures share with their legends, which must not load matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PARTS: Final[Mapping[str, str]] = {
    "network": "network to the app",
    "replay": "replay hop",
    "database network": "database round trips",
    "database": "database work",
    "app": "app",
    "rest": "rest",
}
"""Name of a part in the analysis -> what it is called here, in the order of the stack."""

PART_ROLES: Final[Mapping[str, str]] = {
    "network": "part-floor",
    "replay": "part-replay",
    "database network": "part-trips",
    "database": "part-database",
    "app": "part-app",
    "rest": "part-rest",
}
"""Name of a part -> the role that colours it."""
