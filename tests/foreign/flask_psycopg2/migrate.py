import os

import psycopg2

with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
    with open("schema.sql") as schema:
        cursor.execute(schema.read())
