import os

from flask import Flask, render_template_string
from psycopg2.pool import ThreadedConnectionPool

app = Flask(__name__)
pool = ThreadedConnectionPool(4, 8, os.environ["DATABASE_URL"])

PAGE = "<h1>Shelf</h1>{% for name, books in authors %}<p>{{ name }}: {{ books }}</p>{% endfor %}"


@app.get("/")
def shelf():
    connection = pool.getconn()
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT authors.name, count(books.id) FROM authors"
                " LEFT JOIN books ON books.author_id = authors.id"
                " GROUP BY authors.id ORDER BY authors.id"
            )
            authors = cursor.fetchall()
        connection.commit()
    finally:
        pool.putconn(connection)
    return render_template_string(PAGE, authors=authors)


@app.get("/health")
def health():
    return "ok"
