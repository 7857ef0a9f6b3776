"""
Long connections: a WebSocket in the region nearby, one replayed to the primary, and events.

Beside the first one a form is sent: a request can be replayed where a message cannot.
"""

import json

from locust import task

from loadtest.engine.user import TTFBUser

CITIES = {"cdg": "paris", "ord": "chicago", "syd": "sydney", "scl": "santiago"}


class Kitchen(TTFBUser):
    """Reads and writes over both kinds of WebSocket, and waits for a first event."""

    scenario = "kitchen"

    @task
    def nearby(self) -> None:
        """Over an open connection nothing is replayed: with replicas the write is refused."""
        self.talk("/kitchen", "nearby")
        self.client.cookies.clear()
        form = {"city": CITIES.get(self.region, "paris"), "title": "Soup", "minutes": "20"}
        self.client.post("/recipes", data=form, name="POST /recipes beside it")
        self.client.cookies.clear()

    @task
    def at_the_primary(self) -> None:
        """The handshake is replayed, so everything after it crosses the network, and may write."""
        self.talk("/kitchen?at=primary", "at the primary")

    @task
    def orders(self) -> None:
        """Wait for the first event."""
        with self.client.events("/orders"):
            pass

    def talk(self, path: str, where: str) -> None:
        """Open a WebSocket, read, and write."""
        with self.client.websocket(path, name=f"open {where}") as socket:
            socket.ask(json.dumps({"read": 1}), name=f"read {where}")
            socket.ask(json.dumps({"cook": 1}), name=lambda answer: f"write {where}{fate(answer)}")


def fate(answer: str | bytes | None) -> str:
    """Return what became of a write, for its row's name."""
    told = json.loads(answer) if answer else {}
    return f", refused: {told['error']}" if "error" in told else ""
