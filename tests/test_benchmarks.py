"""The benchmarks that need nobody else still run: what they call has not moved under them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

pytestmark = pytest.mark.contract


def run(script: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("n", "ranks"), [(6, (1, 6)), (50, (18, 33)), (100, (40, 61))])
def test_the_interval_of_a_median_is_that_of_the_tables(
    n: int, ranks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks of a 95 % interval, as tables of order statistics have them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    lookups = importlib.import_module("lookups")
    assert lookups.median_interval(range(1, n + 1)) == ranks
    with pytest.raises(ValueError, match="need 6"):
        lookups.median_interval(range(5))


@pytest.fixture
def target() -> Iterator[str]:
    """The benchmarks' own target, which ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "target" / "target.py"), "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}"
        process.kill()


@pytest.mark.parametrize("rate", ["200", "0"], ids=["open", "closed"])
def test_our_client_is_a_generator_of_its_own(target: str, rate: str) -> None:
    found = json.loads(run("peers/loadtest_client.py", f"{target}/d/1000", rate, "0.5", "10"))
    assert found["failed"] == 0
    assert found["n"] > 0
    if rate != "0":
        assert 100 <= found["n"] + found["dropped"] <= 200  # a late warm-up request counts too
        assert {"p50", "p99", "bias"} <= set(found["errors_us"])


def test_rows_pass_through_the_pipeline() -> None:
    found = run("pipeline.py", "--rows", "5000")
    assert "rows lost                              0 (0 given up)" in found
