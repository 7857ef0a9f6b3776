"""
Writes from every region: what a visitor sees after one, and what it costs in which form.

What an answer was stands in brackets behind a request's name, so every outcome has its own row.
"""

import secrets
from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}
OWN_RECIPE = {"cdg": 1, "ord": 2, "syd": 3, "scl": 4}
"""A row for each region: writers of one row would wait for each other."""


class Writer(TTFBUser):
    """What the scenarios of this file share."""

    abstract = True

    def on_start(self) -> None:
        """Choose the city and the row that fit the region."""
        self.city = CITIES.get(self.region, "paris")
        self.recipe = OWN_RECIPE.get(self.region, 5)

    def create(self) -> str:
        """Add a recipe and return where it is."""
        form = {"city": self.city, "title": "Stew", "minutes": "30"}
        with self.client.post("/recipes", data=form, catch_response=True) as response:
            response.name = "POST /recipes"
            if response.status_code != 303:
                response.failure(f"HTTP {response.status_code} instead of 303")
            return response.headers.get("Location", "/recipes/0")

    def show(self, path: str) -> None:
        """Load what was created; a page that is not there yet is a stale one."""
        with self.client.get(path, name="GET /recipes/{id}", catch_response=True) as response:
            if response.status_code == 404:
                response.name = "GET /recipes/{id} [stale]"
                response.success()
            else:
                response.name = "GET /recipes/{id} [shown]"


class CreateAndShow(Writer):
    """A form, its redirect, and the page it leads to, as a browser does it."""

    scenario = "create-and-show"

    @task
    def create_and_show(self) -> None:
        """Begin without cookies, so that the page created is the only reason to read elsewhere."""
        self.client.cookies.clear()
        self.show(self.create())


class CreateAndShowForgetful(Writer):
    """The same without read-your-writes: the cookie that remembers the write is thrown away."""

    scenario = "create-and-show-no-cookie"

    @task
    def create_and_show(self) -> None:
        """Throw the cookie away between the two."""
        self.client.cookies.clear()
        where = self.create()
        self.client.cookies.clear()
        self.show(where)


class WriteOnGet(Writer):
    """A page that notes who saw it, with the page itself and as a job, far and in the process."""

    scenario = "write-on-get"

    def on_start(self) -> None:
        """Take the three ways in turn."""
        super().on_start()
        self.turn = cycle((("page", "written"), ("far", "job, far"), ("local", "job, local")))

    @task
    def load_profile(self) -> None:
        """Load the page without the cookie of an earlier write, which would lead it far away."""
        touch, told = next(self.turn)
        self.client.cookies.clear()
        path = f"/profile?city={self.city}&id={self.recipe}&touch={touch}"
        self.client.get(path, name=f"GET /profile [{told}]")


class OnPrimary(Writer):
    """One and three writes over a connection to the primary, without a replay."""

    scenario = "on-primary"

    def on_start(self) -> None:
        """Take the two in turn."""
        super().on_start()
        self.turn = cycle((1, 3))

    @task
    def work(self) -> None:
        """Load the page with the next number of writes."""
        number = next(self.turn)
        path = f"/on-primary?queries={number}&id={self.recipe}"
        self.client.get(path, name=f"GET /on-primary [{number} queries]")


class DoubleEffect(Writer):
    """A counter in a cache, bumped before and after the write that makes a request travel."""

    scenario = "double-effect"

    def on_start(self) -> None:
        """Take the two orders in turn."""
        super().on_start()
        self.turn = cycle(("before", "after"))

    @task
    def count(self) -> None:
        """Bump a counter of its own, then look how often it was bumped."""
        order, key = next(self.turn), secrets.token_hex(8)
        self.client.cookies.clear()
        path = f"/counter?key={key}&order={order}&id={self.recipe}"
        self.client.get(path, name=f"GET /counter [{order} the write]")
        name = "GET /counter/value"
        look = self.client.get(f"/counter/value?key={key}", name=name, catch_response=True)
        with look as response:
            times = response.headers.get("Counted", "?")
            response.name = f"{name} [{order}: counted {times}]"
