"""
Any app's pages: asks for the paths that the plan names, one after the other.

In a plan: scenario = "scenarios/pages.py" and paths = ["/", "/about"].
"""

from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser


class Pages(TTFBUser):
    """Loads the plan's paths in turn; an answer of 400 or above is an error."""

    scenario = "pages"

    def on_start(self) -> None:
        """Begin with the first path."""
        self.turn = cycle(self.paths)

    @task
    def load_page(self) -> None:
        """Load the next page."""
        path = next(self.turn)
        self.client.get(path, name=f"GET {path}")
