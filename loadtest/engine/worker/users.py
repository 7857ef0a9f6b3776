"""Makes the users of a segment, ours and Locust's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from locust import User

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.names import AddressResolver
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.tls import TlsChoice
from loadtest.engine.locustfile.load import Locustfile
from loadtest.engine.locustfile.session import OPENING, UserClients
from loadtest.engine.user import TTFBUser
from loadtest.errors import EngineError
from loadtest.plan.order import RunOrder, Target


class UserOpener:
    """
    Makes users and gives them their clients.

    Args:
        order: What to do.
        arms: Names of the deployments, by index.
        region: Where the users live.
        targets: Where each deployment is found.
        record: Takes the samples of their requests.
        resolver: Finds the addresses of names.
        environment: Locust's, for users of our own classes.
        locustfile: Where the others are from.
    """

    def __init__(
        self,
        order: RunOrder,
        arms: Sequence[str],
        region: str,
        *,
        targets: Mapping[str, Target],
        record: Callable[[RequestSample], object],
        resolver: AddressResolver,
        environment: Any,
        locustfile: Locustfile | None = None,
    ) -> None:
        self._plan = order.plan
        self._arms = arms
        self._region = region
        self._targets = targets
        self._record = record
        self._environment = environment
        self._locustfile = locustfile
        settings = order.plan.client
        self._resolver = resolver
        timeout_s = order.plan.load.timeout_s
        self._limits = Limits(
            connect_s=min(10.0, timeout_s),
            tls_s=min(10.0, timeout_s),
            read_s=timeout_s,
            keep_bytes=settings.keep_bytes,
            expect=frozenset(order.plan.expect),
        )

    def make_user(self, user_class: type[TTFBUser], arm: int) -> TTFBUser:
        """Make a user of one of our own classes."""
        user = user_class(self._environment)
        name = self._arms[arm]
        user.equip(self._client(name), self._region, name, self._plan.paths)
        return user

    def open_user(self, user_class: type[User], arm: int) -> tuple[User, Any]:
        """
        Make a user of any class; runs in the greenlet that it lives in.

        Returns:
            The user, and what begins its arrivals and closes its connections.

        Raises:
            EngineError: The class is not ours, and there is no locustfile it could be from.
        """
        if issubclass(user_class, TTFBUser):
            user = self.make_user(user_class, arm)
            return user, user.client
        if self._locustfile is None or self._plan.locustfile is None:
            raise EngineError(f"class {user_class.__name__} is from no locustfile")
        name = self._arms[arm]
        origin = (self._plan.deployment(name).url or self._targets[name].url).rstrip("/")
        clients = UserClients(lambda: self._client(name, origin))
        OPENING.set(clients)
        if self._plan.locustfile.replaces_hosts or user_class.host is None or len(self._arms) > 1:
            user_class.host = f"{origin}{self._plan.locustfile.base_path}"
        return user_class(self._locustfile.environment), clients

    def _client(self, name: str, *known_as: str) -> TTFBClient:
        target, settings = self._targets[name], self._plan.client
        return TTFBClient(
            target,
            self._record,
            limits=self._limits,
            resolver=self._resolver,
            headers=target.headers,
            known_as=known_as,
            tls=TlsChoice(
                settings.ca_file,
                settings.insecure,
                settings.certificate,
                settings.key,
                target.passphrase,
            ),
        )


def scenario_name(user_class: type[User]) -> str:
    """Return the name of a class in records and tables."""
    if issubclass(user_class, TTFBUser):
        return user_class.scenario_name()
    return user_class.__name__
