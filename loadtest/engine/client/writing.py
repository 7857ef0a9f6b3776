"""What a client sends: where a request goes, and its bytes; heads are written once."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.engine.client.places import Places
from loadtest.engine.client.request import (
    Body,
    Params,
    build_fields,
    build_request_line,
    encode_body,
    with_cookies,
    with_query,
)
from loadtest.engine.client.state import TargetState


class Writing:
    """Makes bytes of what a scenario asks for."""

    _place: TargetState
    _places: Places
    _headers: dict[str, str]
    _headers_key: tuple[tuple[str, str], ...] | None

    def _where(self, path: str, params: Params | None) -> tuple[TargetState, str]:
        """Return where a request goes, and its path with the whole query."""
        place = self._place
        if path[:1] != "/":
            place, path = self._resolve_place(path)
        return place, with_query(path, params) if params else path

    def _written(
        self,
        place: TargetState,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None,
        data: Body | None,
        json: object,
    ) -> tuple[bytes, str]:
        """Return a request as it is sent, and its name in the tables where it has no other."""
        body, kind = encode_body(method, data, json)
        head, default_name = self._head(place, method, path, headers, kind)
        if body is not None:
            head = head[:-2] + b"Content-Length: %d\r\n\r\n" % len(body)
        if len(place.cookies):
            head = with_cookies(head, place.cookies, place.origin, path)
        return head if body is None else head + body, default_name

    def _head(
        self,
        place: TargetState,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        kind: str,
    ) -> tuple[bytes, str]:
        origin, at_home = place.origin, place is self._place
        own_key = self._headers_key if at_home else ()
        if own_key is None:  # a scenario holds them, and may have changed them
            own_key = tuple(self._headers.items())
        key = (method, path, own_key, tuple(headers.items()) if headers else None, kind)
        found: tuple[bytes, str] | None = origin.heads.get(key)
        if found is None:
            fields: bytes | None = origin.heads.get(key[2:])
            if fields is None:
                own = self._headers if at_home else {}
                fields = build_fields(origin, {**own, **(headers or {})}, kind)
                origin.remember_head(key[2:], fields)
            found = build_request_line(method, path) + fields, path.partition("?")[0]
            origin.remember_head(key, found)
        return found

    def _resolve_place(self, url: str) -> tuple[TargetState, str]:
        """Return where a whole URL leads; its cookies are those of the target in use."""
        return self._places.led_to(self._place, url)
