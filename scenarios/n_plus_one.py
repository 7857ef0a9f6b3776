"""A list and a query for each item of it: every query crosses the network to where the data is."""

from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}
QUERIES = (1, 2, 5, 10)


class NPlusOne(TTFBUser):
    """Loads one page with 1, 2, 5 and 10 queries in turn."""

    scenario = "n-plus-one"

    def on_start(self) -> None:
        """Choose the city that fits the region."""
        self.city = CITIES.get(self.region, "paris")
        self.turn = cycle(QUERIES)

    @task
    def load_menu(self) -> None:
        """Load the page with the next number of queries."""
        number = next(self.turn)
        path = f"/menu?city={self.city}&queries={number}"
        self.client.get(path, name=f"GET /menu [{number} queries]")
