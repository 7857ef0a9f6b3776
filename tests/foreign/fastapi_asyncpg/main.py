import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=8)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def shelf():
    async with app.state.pool.acquire() as connection:
        authors = await connection.fetch(
            "SELECT authors.name, count(books.id) AS books FROM authors"
            " LEFT JOIN books ON books.author_id = authors.id"
            " GROUP BY authors.id ORDER BY authors.id"
        )
    return [dict(author) for author in authors]


@app.get("/health")
async def health():
    return {"status": "ok"}
