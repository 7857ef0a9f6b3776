"""
Answers after a fixed delay, plain and over TLS, from one loop.

    python delay_server.py DELAY_MS CERT_PEM     prints the plain port and the TLS port
"""

from __future__ import annotations

import asyncio
import ssl
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def main(delay_s: float, certificate: str) -> None:
    loop = asyncio.get_running_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                due = loop.time() + delay_s
                await asyncio.sleep(max(0.0, due - loop.time() - 0.002))
                while loop.time() < due:  # the loop's timer is late by a millisecond
                    await asyncio.sleep(0)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    secure = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(*(s.sockets[0].getsockname()[1] for s in (plain, secure)), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) / 1e3, sys.argv[2]))
