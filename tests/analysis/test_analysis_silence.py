"""How much of a worker's silence was under load."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analysis.worker_checks import _silence_s


@pytest.mark.parametrize(
    ("begin_s", "end_s", "due_s", "silent_s"),
    [
        (10.0, 18.0, range(30), 8.0),  # it stood still under load
        (12.0, 17.7, [*range(13), *range(18, 30)], 0.0),  # nothing was due: arms began anew
        (12.0, 17.7, [*range(14), *range(17, 30)], 2.7),
        (12.0, 42.0, range(0, 60, 10), 21.0),  # a slow schedule excuses no more than its own gaps
    ],
)
def test_a_pause_between_looks_is_no_silence(
    begin_s: float, end_s: float, due_s: list[int], silent_s: float
) -> None:
    assert _silence_s(begin_s, end_s, np.array(list(due_s))) == pytest.approx(silent_s)
