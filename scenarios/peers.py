"""
Caches of several regions that take each other's writes: how late, how alike, and what is lost.

The app does the writing and the looking, and says in a header what became of it; that stands in
brackets behind a request's name.
"""

from itertools import cycle

from locust import task

from loadtest.engine.user import TTFBUser

REGIONS = ("cdg", "ord", "syd", "scl")
"""Those that fly/recipes-mirrored names the caches of."""


class PeerUser(TTFBUser):
    """What the scenarios of this file share: the other regions, in turn."""

    abstract = True

    def on_start(self) -> None:
        """Begin with the first of the others."""
        self.peers = cycle(region for region in REGIONS if region != self.region)

    def look(self, path: str, told: str = "") -> None:
        """Load a page of two regions, and name the request by what came of it."""
        peer = next(self.peers)
        with self.client.get(path.format(peer=peer), catch_response=True) as response:
            outcome = response.headers.get("Outcome", "cut off")
            if response.status_code == 503:
                response.success()  # while a region is cut off, this is what there is to see
            response.name = f"GET {path.partition('?')[0]} [{told or peer}: {outcome}]"


class Lag(PeerUser):
    """Writes in another region's cache, and waits until the own one has it."""

    scenario = "peer-lag"
    weight = 0.5

    @task
    def probe(self) -> None:
        """Do so once; the name tells which region was written in."""
        self.look("/peers/seen?peer={peer}")


class Conflicts(PeerUser):
    """Sets one key in two regions at once, and counts in two at once, by adding and by setting."""

    scenario = "peer-conflicts"

    def on_start(self) -> None:
        """Take the three in turn."""
        super().on_start()
        self.turn = cycle(
            (
                ("/peers/race?peer={peer}", "set at once"),
                ("/peers/count?peer={peer}&way=incr", "incr"),
                ("/peers/count?peer={peer}&way=set", "get and set"),
            )
        )

    @task
    def conflict(self) -> None:
        """Do the next one."""
        self.look(*next(self.turn))


class Tally(PeerUser):
    """Counts what it writes here, and looks whether all that another region wrote is here."""

    scenario = "peer-tally"

    @task
    def compare(self) -> None:
        """Do so once."""
        self.look("/peers/tally?peer={peer}", "tally")
