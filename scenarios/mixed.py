"""Visits of eight pages with time to think, one page in twenty a write: who feels the primary?"""

import random
import time

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}
PAGES = 8
WRITES = 0.05
THINK_S = (0.3, 1.0)


class Visit(TTFBUser):
    """One arrival is one visit of somebody new."""

    scenario = "visit"
    weight = 0.3

    def on_start(self) -> None:
        """Choose the city that fits the region."""
        self.city = CITIES.get(self.region, "paris")

    @task
    def visit(self) -> None:
        """Look at pages, add a recipe now and then; cookies last as long as the visit."""
        self.client.cookies.clear()
        for page in range(PAGES):
            if page:
                time.sleep(random.uniform(*THINK_S))
            if random.random() < WRITES:
                form = {"city": self.city, "title": "Soup", "minutes": "20"}
                self.client.post("/recipes", data=form, name="POST of a visit")
            else:
                self.client.get(f"/recipes?city={self.city}", name="GET of a visit")
