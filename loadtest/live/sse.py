"""
Frames of a stream of server-sent events.

Source: WHATWG HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

KEEP_ALIVE: Final = b": still here\n\n"
RETRY: Final = b"retry: 1000\n\n"
"""A page that loses its stream asks again after a second."""


def event_frame(name: str, data: Mapping[str, object]) -> bytes:
    """
    Return one event.

    Args:
        name: Kind of event, one word.
        data: JSON-ready values; the text of JSON has no line break, so one data line holds it.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode("ascii")
