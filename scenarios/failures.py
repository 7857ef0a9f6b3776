"""
Reads and writes apart from each other, for plans in which something breaks.

A visitor of either kind asks again and again, so that the first answer after a failure is seen soon
after it was possible.
"""

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}


class Read(TTFBUser):
    """Loads the page of recipes of the region's city."""

    scenario = "read"

    @task
    def list_recipes(self) -> None:
        """Load the page without the cookie of anybody's write."""
        self.client.cookies.clear()
        self.client.get(f"/recipes?city={CITIES.get(self.region, 'paris')}", name="GET /recipes")


class Write(TTFBUser):
    """Sends the form that adds a recipe."""

    scenario = "write"

    @task
    def create(self) -> None:
        """Add a recipe; where it can be seen is the answer."""
        form = {"city": CITIES.get(self.region, "paris"), "title": "Stew", "minutes": "30"}
        self.client.post("/recipes", data=form, name="POST /recipes")
