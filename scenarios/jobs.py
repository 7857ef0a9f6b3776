"""
Jobs put into a queue by a page: far away one by one, in the process, and waited for; a full queue.

What became of them stands in brackets behind a request's name.
"""

import secrets
from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

WAYS = (
    ("jobs=1&queue=far", "1 job, far"),
    ("jobs=5&queue=far", "5 jobs, far"),
    ("jobs=1&queue=local", "1 job, local"),
    ("jobs=5&queue=local", "5 jobs, local"),
    ("jobs=1&queue=done", "1 job, until done"),
)
MOST_JOBS = 40
JOB_BYTES = 13_000
OWN_RECIPE = {"cdg": 11, "ord": 12, "syd": 13, "scl": 14}


class Jobs(TTFBUser):
    """Enqueues from a GET, each way in turn."""

    scenario = "jobs"
    weight = 1.5

    def on_start(self) -> None:
        """Begin with the first way."""
        self.turn = cycle(WAYS)
        self.recipe = OWN_RECIPE.get(self.region, 15)

    @task
    def enqueue(self) -> None:
        """Load the page that enqueues."""
        query, told = next(self.turn)
        self.client.get(f"/enqueue?{query}&id={self.recipe}", name=f"GET /enqueue [{told}]")


class FullQueue(TTFBUser):
    """Fills a queue with little room and no worker until it refuses; then counts what is there."""

    scenario = "full-queue"

    @task
    def fill(self) -> None:
        """Use a list of its own, and empty it in the end: others want to be refused, too."""
        where, taken, room = secrets.token_hex(8), 0, True
        while room and taken < MOST_JOBS:
            path = f"/enqueue?jobs=1&padding={JOB_BYTES}&list={where}"
            with self.client.get(path, catch_response=True) as response:
                room = response.status_code != 503
                response.name = f"GET /enqueue [{'taken' if room else 'full: HTTP 503'}]"
                if not room:
                    response.success()  # refused aloud, as it should be
                elif response.status_code == 200:
                    taken += 1
        with self.client.get(f"/enqueued?list={where}", catch_response=True) as response:
            kept = response.headers.get("Jobs") == str(taken)
            response.name = f"GET /enqueued [full queue: {'kept' if kept else 'lost'}]"
