"""A user's cookies as a mapping, the way ``requests`` shows them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from loadtest.engine.client.cookies import CookieJar


class SessionCookies(MutableMapping[str, str]):
    """
    A view of a jar.

    Args:
        jar: The jar.
        host: Where cookies of the script's own making are sent.
    """

    def __init__(self, jar: CookieJar, host: str) -> None:
        self._jar = jar
        self._host = host

    def __getitem__(self, name: str) -> str:
        value = self._jar.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self._jar.set(name, str(value), host=self._host)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._jar.store(f"{name}=; Max-Age=0; Path=/", host=self._host, request_path="/")

    def __iter__(self) -> Iterator[str]:
        return iter({cookie.name: None for cookie in self._jar})

    def __len__(self) -> int:
        return len({cookie.name for cookie in self._jar})

    def set(self, name: str, value: str, **_domain_and_path: Any) -> None:
        """Keep a cookie for the target."""
        self[name] = value

    def get_dict(self, **_domain_and_path: Any) -> dict[str, str]:
        """Return names and values."""
        return dict(self)

    def clear(self, **_domain_and_path: Any) -> None:
        """Forget every cookie."""
        self._jar.clear()
