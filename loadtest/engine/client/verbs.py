"""The verbs of HTTP as methods, spelt as Locust's and requests' clients spell them."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.engine.client.request import Body
from loadtest.engine.client.response import Response


class Verbs:
    """Turns ``client.get(path)`` into ``client.request("GET", path)``."""

    request: Callable[..., Response]

    def get(self, path: str, **options: object) -> Response:
        """Send a GET; options as for ``request``."""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: object) -> Response:
        """Send a HEAD; options as for ``request``."""
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: object) -> Response:
        """Send an OPTIONS; options as for ``request``."""
        return self.request("OPTIONS", path, **options)

    def delete(self, path: str, **options: object) -> Response:
        """Send a DELETE; options as for ``request``."""
        return self.request("DELETE", path, **options)

    def post(
        self, path: str, data: Body | None = None, json: object = None, **options: object
    ) -> Response:
        """Send a POST; options as for ``request``."""
        return self.request("POST", path, data=data, json=json, **options)

    def put(
        self, path: str, data: Body | None = None, json: object = None, **options: object
    ) -> Response:
        """Send a PUT; options as for ``request``."""
        return self.request("PUT", path, data=data, json=json, **options)

    def patch(
        self, path: str, data: Body | None = None, json: object = None, **options: object
    ) -> Response:
        """Send a PATCH; options as for ``request``."""
        return self.request("PATCH", path, data=data, json=json, **options)
