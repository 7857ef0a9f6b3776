"""The Machines API of the world: an app's secrets, whose every change has a version."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.values import Json
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.apps import app_of
from loadtest.world.machines.store import AppRecord

_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIGEST_DIGITS = 16


async def list_secrets(request: Request) -> Response:
    """GET /v1/apps/{app}/secrets: names, and values where they are asked for."""
    app = app_of(request)
    _check_version(app, request)
    return JSONResponse({"secrets": [_answer(app, name, request) for name in app.secrets]})


async def show_secret(request: Request) -> Response:
    """GET /v1/apps/{app}/secrets/{secret}."""
    app, name = app_of(request), request.path_params["secret"]
    _check_version(app, request)
    if name not in app.secrets:
        raise ApiError(404, f"secret not found: {name}")
    return JSONResponse(_answer(app, name, request))


async def set_secrets(request: Request) -> Response:
    """POST /v1/apps/{app}/secrets: a value of null removes a secret."""
    app, body = app_of(request), await body_of(request)
    values = body.get("values")
    if not isinstance(values, dict):
        raise ApiError(422, "values: an object of names and values is wanted")
    _change(app, values)
    listed = [_answer(app, name) for name in app.secrets]
    return JSONResponse({**_version(app), "secrets": listed})


async def set_secret(request: Request) -> Response:
    """POST /v1/apps/{app}/secrets/{secret}."""
    app, body = app_of(request), await body_of(request)
    name = request.path_params["secret"]
    _change(app, {name: body.get("value", "")})
    return JSONResponse({**_version(app), **_answer(app, name)}, status_code=201)


async def remove_secret(request: Request) -> Response:
    """DELETE /v1/apps/{app}/secrets/{secret}."""
    app, name = app_of(request), request.path_params["secret"]
    if name not in app.secrets:
        raise ApiError(404, f"secret not found: {name}")
    _change(app, {name: None})
    return JSONResponse(_version(app))


def _change(app: AppRecord, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if not _SECRET_NAME.fullmatch(name):
            raise ApiError(422, f"secret name {name!r} is not a name of an environment variable")
        if not (value is None or isinstance(value, str)):
            raise ApiError(422, f"secret {name}: its value is no text")
    for name, value in values.items():
        if value is None:
            app.secrets.pop(name, None)
        else:
            app.secrets[name] = value
    app.secrets_version += 1


def _check_version(app: AppRecord, request: Request) -> None:
    """Refuse to tell secrets that are older than the caller has set."""
    wanted = request.query_params.get("min_version") or request.query_params.get("version") or "0"
    if not wanted.isdigit():
        raise ApiError(400, f"min_version {wanted!r} is not a whole number")
    if int(wanted) > app.secrets_version:
        raise ApiError(
            412, f"secrets of app {app.name} are at version {app.secrets_version}, not {wanted}"
        )


def _version(app: AppRecord) -> Json:
    return {"version": app.secrets_version, "Version": app.secrets_version}


def _answer(app: AppRecord, name: str, request: Request | None = None) -> Json:
    value = app.secrets[name]
    digest = hashlib.sha256(value.encode()).hexdigest()[:_DIGEST_DIGITS]
    shown = request is not None and request.query_params.get("show_secrets") == "true"
    return {"name": name, "digest": digest, **({"value": value} if shown else {})}


_ALL, _ONE = "/v1/apps/{app}/secrets", "/v1/apps/{app}/secrets/{secret}"
ROUTES = [
    Route(_ALL, list_secrets),
    Route(_ALL, set_secrets, methods=["POST"]),
    Route(_ONE, show_secret),
    Route(_ONE, set_secret, methods=["POST"]),
    Route(_ONE, remove_secret, methods=["DELETE"]),
]
