"""
The default scenario: people look for recipes of the city that they live in.

Copy this file, change it, and name it in your plan: scenario = "scenarios/mine.py".  It is an
ordinary Locust file; only the base class differs.
"""

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {
    "cdg": "Paris",
    "ord": "Chicago",
    "syd": "Sydney",
    "scl": "Santiago",
}


class Recipes(TTFBUser):
    """Asks for the page of recipes of one city."""

    scenario = "recipes"

    def on_start(self) -> None:
        """Choose the city that fits the region; a region without one looks at Paris."""
        self.path = f"/recipes?city={CITIES.get(self.region, 'Paris')}"

    @task
    def list_recipes(self) -> None:
        """Load the page; anything but 200 is an error."""
        with self.client.get(self.path, name="GET /recipes", catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"HTTP {response.status_code} instead of 200")
