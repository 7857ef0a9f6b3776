import asyncio
import os

import asyncpg


async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    with open("schema.sql") as schema:
        await connection.execute(schema.read())
    await connection.close()


asyncio.run(main())
