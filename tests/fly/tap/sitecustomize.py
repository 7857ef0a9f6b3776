"""
Begins to listen in on the Machines API where this process is a world; see `machines_tap`.

Python imports this by itself where the folder is on its path, which `tests/conftest.py` sees to.
"""

from __future__ import annotations

import os
import sys

_FAULTS = os.environ.get("LOADTEST_TEST_TAP", "")

if _FAULTS and sys.orig_argv[1:3] == ["-m", "loadtest.world"]:
    from pathlib import Path

    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from machines_tap import attach

    attach(Path(_FAULTS))
