"""A small HTTP server to load: prints its port, answers after the delay it was started with."""

from __future__ import annotations

import asyncio
import sys


async def serve(delay_s: float) -> None:
    body = b"<p>recipes</p>"
    head = (
        "HTTP/1.1 200 OK\r\nFly-Region: cdg\r\n"
        'Server-Timing: app;dur=1.5, db;dur=2.5;desc="2", region;desc="cdg"\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(delay_s)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
