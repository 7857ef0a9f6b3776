"""The latency tables by `--world fly`: database, apps and generator, against a world like Fly."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import httpx
import pytest
from fly_tap import fly_tap
from whole_program import finished, read

from loadtest.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS
from loadtest.fly.transport import LIMITED
from loadtest.world.handle import start_world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
RTT_MS = 104.0
APPS = ("recipes-db", "recipes-single", "recipes-multi", "recipes-replica", "loadtest")
VERDICTS = (EXIT_PASS, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_INVALID)
"""Whichever the plan's rules come to where an app takes no time of its own."""


def test_from_no_apps_to_the_tables_and_back_to_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image for all, names that others have taken, round trips that the machines measure."""
    spec = {
        "schema": 1,
        "regions": ["cdg", "ord"],
        "primary_region": "cdg",
        "rtt_ms": {"cdg-ord": RTT_MS},
        "layer": "relay",
        "images": {"loadtest": {"cwd": str(ROOT), "env": {}}},
        "foreign_apps": list(APPS),
        "strict_regions": True,
    }
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with start_world(spec) as handle, fly_tap(handle.api_url) as tap:
        monkeypatch.setenv("FLY_FLAPS_BASE_URL", tap.url)
        monkeypatch.setenv("FLY_API_TOKEN", handle.token)
        done = finished(
            *("run", "--regions", "cdg,ord", "--world", "fly", "--org", "acme", "--yes"),
            *("--image", "registry.example/loadtest:1", "--duration", "17", "--looks", "1"),
            *("--out", "run"),
            cwd=tmp_path,
            timeout_s=200,
        )
        headers = {"authorization": f"Bearer {handle.token}"}
        left = [
            httpx.get(f"{handle.api_url}/v1/apps?org_slug={org}", headers=headers).json()["apps"]
            for org in ("acme", "personal")
        ]
    said = " ".join(done.stderr.split())
    assert done.returncode in VERDICTS, said
    assert left == [[], []]
    assert LIMITED not in {status for _, _, status in tap.seen}
    assert "listed again: all are gone" in said
    prefixed = re.search(r"apps (\S+)-recipes-db, ", said)
    assert prefixed, said
    told = re.search(r"round trips between the machines: cdg-ord ([\d.]+) ms", said)
    assert told, said
    assert float(told[1]) == pytest.approx(RTT_MS, rel=0.05)
    cells = {
        (c["deployment"], c["region"]): c for c in read(tmp_path / "run" / "summary.json")["cells"]
    }
    assert {cell["errors"] for cell in cells.values()} == {0}
    p50 = {key: cell["ttfb_ms"]["p50"] for key, cell in cells.items()}
    trips = {"single": 1, "multi": 2, "replica": 0}
    for deployment, count in trips.items():
        far = p50[deployment, "ord"] - p50[deployment, "cdg"]
        assert far == pytest.approx(count * RTT_MS, abs=10.0), deployment
    assert cells["single", "ord"]["served_by"].keys() == {"cdg"}
    cost = read(tmp_path / "run" / "world.json")["cost"]
    by_hand = sum(machine["seconds"] * machine["usd_per_s"] for machine in cost["machines"])
    assert cost["usd"] == pytest.approx(by_hand, rel=0.01)
    assert os.environ["FLY_API_TOKEN"] not in done.stdout + done.stderr
