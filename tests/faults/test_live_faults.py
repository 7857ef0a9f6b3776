"""
The campaign of live faults: short real runs, broken while they go on.

None is believed wrongly, none ends in a traceback or not at all, and nothing is left behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from live import Live, run
from live_faults import LIVE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(260),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.mark.parametrize("fault", LIVE, ids=[fault.name for fault in LIVE])
def test_a_live_fault(tmp_path: Path, fault: Live) -> None:
    end = run(fault, tmp_path)
    assert end.wrong == (), end.said[-2_000:]
