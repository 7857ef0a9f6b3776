"""What one user has at one target: connections to use again, and cookies."""

from __future__ import annotations

from loadtest.engine.client.connection import HttpConnection
from loadtest.engine.client.cookies import CookieJar
from loadtest.engine.client.origin import Origin


class TargetState:
    """What a user has at one target: idle connections and cookies."""

    __slots__ = ("cookies", "idle", "origin")

    def __init__(self, origin: Origin, cookies: CookieJar) -> None:
        self.origin = origin
        self.cookies = cookies
        self.idle: list[HttpConnection] = []

    def take_idle(self) -> HttpConnection | None:
        """Return the connection used last, if the server has not closed it meanwhile."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.ready():
                return connection
            connection.close()
        return None

    def give_back(self, connection: HttpConnection, most: int) -> None:
        """Keep a connection for the next request, or close it: at most ``most`` are kept."""
        if connection.usable and len(self.idle) < most:
            self.idle.append(connection)
        else:
            connection.close()

    def store_cookies(self, headers: list[bytes], path: str) -> None:
        """Take in the Set-Cookie headers of an answer to a request for ``path``."""
        for header in headers:
            self.cookies.store(
                header.decode("latin-1"), host=self.origin.server_name, request_path=path
            )

    def close(self) -> None:
        """Close every idle connection."""
        while self.idle:
            self.idle.pop().close()
