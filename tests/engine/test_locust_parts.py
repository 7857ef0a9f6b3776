"""Player, scenario loader, dispatcher and message parser, in a process where Locust may patch."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_rig import ROOT

SCRIPT = Path(__file__).with_name("locust_checks.py")
CHECKS = [
    node.name
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")
]


@pytest.fixture(scope="module")
def outcome() -> Any:
    """Run all checks once."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CHECKS)
def test_in_a_process_of_its_own(outcome: Any, name: str) -> None:
    assert name in outcome["ran"]
    assert name not in outcome["failed"], outcome["failed"][name]
