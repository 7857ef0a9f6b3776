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

SCRIPTS = [Path(__file__).with_name(f"{name}_checks.py") for name in ("locust", "locustfile")]
CHECKS = [
    (script.stem, node.name)
    for script in SCRIPTS
    for node in ast.parse(script.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")
]


@pytest.fixture(scope="module")
def outcome() -> Any:
    """Run all checks once."""
    told = {}
    for script in SCRIPTS:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        told[script.stem] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(("script", "name"), CHECKS)
def test_in_a_process_of_its_own(outcome: Any, script: str, name: str) -> None:
    assert name in outcome[script]["ran"]
    assert name not in outcome[script]["failed"], outcome[script]["failed"][name]
