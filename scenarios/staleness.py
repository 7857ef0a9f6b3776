"""How long a write in the primary region takes to be seen here: the app waits for it and tells."""

from locust import task

from loadtest.engine.user import TTFBUser

OWN_RECIPE = {"cdg": 6, "ord": 7, "syd": 8, "scl": 9}


class Staleness(TTFBUser):
    """Writes on the primary and reads here until the write is seen."""

    scenario = "staleness"

    @task
    def probe(self) -> None:
        """Do so once; the database time of the answer tells how long it was."""
        recipe = OWN_RECIPE.get(self.region, 10)
        self.client.get(f"/seen?id={recipe}", name="GET /seen")
