"""
Times a few hundred requests of our client, one after the other.

    python instrument_client.py URL CA_PEM COUNT warm|cold    prints one line of JSON, microseconds
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from loadtest.engine.client.sample import RequestSample

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loadtest.engine.client.client import TTFBClient


def main(url: str, ca_file: str, count: int, cold: bool) -> None:
    samples: list[RequestSample] = []
    target = SimpleNamespace(
        url=url, host="", ca_file=ca_file if url.startswith("https") else "", http="1.1"
    )
    client = TTFBClient(target, samples.append)
    for _ in range(count):
        client.get("/", new_connection=cold)
    client.close()
    assert not any(s.error for s in samples), samples[0].detail
    kept = samples if cold else [s for s in samples if s.reused]
    times = sorted(s.first_ns - s.start_ns if cold else s.wait_ns for s in kept)
    print(json.dumps([value / 1e3 for value in times]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "cold")
