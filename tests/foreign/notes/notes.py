"""A notes page: a small ASGI app on PostgreSQL, as anybody might have written it."""

import os
import sys
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    kwargs={"autocommit": True, "prepare_threshold": None},
    min_size=4,
    max_size=4,
    open=False,
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer / with all notes, /up with the pool's state."""
    if scope["type"] == "lifespan":
        await receive()
        await pool.open(wait=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"ok" if scope["path"] == "/up" else await page()
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def page() -> bytes:
    """Return the page of notes: one query."""
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT id, text FROM notes ORDER BY id")).fetchall()
    return "\n".join(f"<p>{id}: {text}</p>" for id, text in rows).encode()


def migrate() -> None:
    """Make the table and a few notes."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (id int PRIMARY KEY, text text)")
        connection.execute(
            "INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 5) n"
            " ON CONFLICT DO NOTHING"
        )


if __name__ == "__main__" and sys.argv[1:] == ["migrate"]:
    migrate()
