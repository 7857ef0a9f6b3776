"""Jobs put into a queue by a page: far away one by one, in the process, and waited for."""

from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

WAYS = (
    ("jobs=1&queue=far", "1 job, far"),
    ("jobs=5&queue=far", "5 jobs, far"),
    ("jobs=5&queue=local", "5 jobs, local"),
    ("jobs=1&queue=done", "1 job, until done"),
)
OWN_RECIPE = {"cdg": 11, "ord": 12, "syd": 13, "scl": 14}


class Jobs(TTFBUser):
    """Enqueues from a GET, each way in turn."""

    scenario = "jobs"

    def on_start(self) -> None:
        """Begin with the first way."""
        self.turn = cycle(WAYS)
        self.recipe = OWN_RECIPE.get(self.region, 15)

    @task
    def enqueue(self) -> None:
        """Load the page that enqueues."""
        query, told = next(self.turn)
        self.client.get(f"/enqueue?{query}&id={self.recipe}", name=f"GET /enqueue [{told}]")
