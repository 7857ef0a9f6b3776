"""
What a cache loses: pages that make room for others, and sessions whose visitor changes region.

What became of a look stands in brackets behind a request's name.
"""

import random
from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}
VERSIONS = 120
"""Pages of about 4 kB: more than fly/recipes-small-cache has room for."""
ASKED: set[tuple[str, str, int]] = set()
"""What users here have asked for: a miss of one of these was in the cache and made room."""


class Eviction(TTFBUser):
    """Asks for more pages than the cache has room for, each as likely as another."""

    scenario = "cache-eviction"
    weight = 5

    def on_start(self) -> None:
        """Choose the city that fits the region."""
        self.city = CITIES.get(self.region, "paris")

    @task
    def load_page(self) -> None:
        """Load a page; tell whether it was there, never was, or had made room."""
        version = random.randrange(VERSIONS)
        key = (self.deployment, self.region, version)
        path = f"/fragments?city={self.city}&version={version}"
        with self.client.get(path, name="GET /fragments", catch_response=True) as response:
            hit = response.headers.get("Cache-Status", "").endswith("; hit")
            told = "hit" if hit else "evicted" if key in ASKED else "first"
            response.name = f"GET /fragments [{told}]"
        ASKED.add(key)


class SessionMoves(TTFBUser):
    """A visitor whose second page is served by another region: a flight, a VPN, a dead machine."""

    scenario = "session-moves"

    def on_start(self) -> None:
        """Move to the others in turn."""
        self.peers = cycle(region for region in CITIES if region != self.region)

    @task
    def move(self) -> None:
        """Begin a session here, and go on with it there."""
        peer = next(self.peers)
        self.client.cookies.clear()
        self.client.get("/session", name="GET /session [begun]")
        there = {"Fly-Prefer-Region": peer}
        with self.client.get("/session", headers=there, catch_response=True) as response:
            kept = "Page 2 of" in response.text
            response.name = f"GET /session [moved: {'kept' if kept else 'lost'}]"
