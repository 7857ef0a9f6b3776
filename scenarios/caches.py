"""
Fragments and sessions in a cache: what a hit saves, what a miss costs, what a far cache costs.

The app says in Cache-Status (RFC 9211) whether the cache had what was asked for; that becomes part
of the request's name, so the tables have a row for hits and one for misses.
"""

from itertools import count

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}


def outcome(response):
    """Return ``hit`` or ``miss`` as Cache-Status says."""
    return "hit" if response.headers.get("Cache-Status", "").endswith("; hit") else "miss"


class CacheUser(TTFBUser):
    """What the scenarios of this file share."""

    abstract = True

    def on_start(self) -> None:
        """Choose the city that fits the region."""
        self.city = CITIES.get(self.region, "paris")
        self.number = count()

    def load_fragment(self, version: str) -> None:
        """Load a page, and name the request by what the cache said."""
        path = f"/fragments?city={self.city}&version={version}"
        with self.client.get(path, name="GET /fragments", catch_response=True) as response:
            response.name = f"GET /fragments [{outcome(response)}]"


class CacheHit(CacheUser):
    """Asks for one page again and again: in the cache after the first time."""

    scenario = "cache-hit"

    @task
    def load_page(self) -> None:
        """Load the page of the region's city."""
        self.load_fragment("same")


class CacheMiss(CacheUser):
    """Asks for pages that nobody has asked for: the cache is filled, and evicts in the end."""

    scenario = "cache-miss"

    @task
    def load_page(self) -> None:
        """Load a page of a version of its own."""
        self.load_fragment(f"{self.region}-{id(self)}-{next(self.number)}")


class Session(TTFBUser):
    """A session that is read and written with every page, without the database."""

    scenario = "session"

    @task
    def load_page(self) -> None:
        """Load the next page of the visit."""
        self.client.get("/session", name="GET /session")
