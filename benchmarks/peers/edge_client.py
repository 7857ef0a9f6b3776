"""
Our client, one request after the other, told what to do line by line.

    python edge_client.py     reads [URL, PATH, HOST, CA_FILE, HTTP, NEW], answers milliseconds
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.sample import RequestSample


def main() -> None:
    rows: list[RequestSample] = []
    clients: dict[tuple[str, str], TTFBClient] = {}
    for line in sys.stdin:
        url, path, host, ca_file, http, new = json.loads(line)
        target = SimpleNamespace(url=url, host=host, ca_file=ca_file, http=http)
        client = clients.get((url, http))
        if client is None:
            client = clients[url, http] = TTFBClient(target, rows.append)
        client.get(path, new_connection=new).raise_for_status()
        sample = rows.pop()
        told = sample.cold_ttfb_ns if new else sample.wait_ns
        answer = [told / 1e6, sample.dns_ns / 1e6, sample.reused, sample.protocol]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
