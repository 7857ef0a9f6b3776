"""
The loop's clock is read anew before each test.

Time-outs count from the moment that the loop saw last: in a process that ran other tests since,
that may be minutes ago, and they would be over at once.
"""

from __future__ import annotations

import gevent
import pytest


@pytest.fixture(autouse=True)
def _loop_knows_the_time() -> None:
    gevent.get_hub().loop.update_now()
