"""
Listens in on the Machines API of every world that a test starts; `tap/sitecustomize.py` begins it.

Requests of our own client have to be what the schema allows.  Whatever else the schema refuses the
world has to refuse, too.  Every answer has to be what the schema says.  A line is written for each
fault; the test in which it happens fails.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from machines_schema import MachinesSchema

from loadtest.world.api import app

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def listen_in(api: Any, faults_file: Path) -> Any:
    """Return an ASGI application that notes what is wrong with what another takes and answers."""
    schema = MachinesSchema()

    async def tapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await api(scope, receive, send)
            return
        asked, told = bytearray(), bytearray()
        status, whole = 0, False

        async def hear() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or (message["type"] == "http.request" and not message.get("more_body"))
            asked.extend(message.get("body", b""))
            return message

        async def tell(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            told.extend(message.get("body", b""))
            over = not message.get("more_body") and message["type"] == "http.response.body"
            if over and (whole or status < 400):  # a killed client's request may break off
                note(scope, bytes(asked), status, bytes(told))
            await send(message)

        await api(scope, hear, tell)

    def note(scope: Message, asked: bytes, status: int, told: bytes) -> None:
        target = scope["path"] + (f"?{query}" if (query := scope["query_string"].decode()) else "")
        method, headers = scope["method"], dict(scope["headers"])
        faults = schema.answer_faults(method, target, status, _decoded(told))
        ours = headers.get(b"user-agent") == b"loadtest"
        if ours or status < 400:
            who = "our client" if ours else "taken by the world"
            faults += [
                f"{who}: {fault}"
                for fault in schema.request_faults(method, target, _decoded(asked))
            ]
        if faults:
            with faults_file.open("a", encoding="utf-8") as file:
                file.writelines(f"{fault}\n" for fault in faults)

    return tapped


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except ValueError:
        return content.decode(errors="replace")


def attach(faults_file: Path) -> None:
    """Listen in on the world of this process; a line for each fault goes to the file."""
    make = app.make_api
    app.make_api = lambda world: listen_in(make(world), faults_file)
