const express = require("express");
const { Pool } = require("pg");

const app = express();
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 8 });

app.get("/", async (req, res) => {
  const { rows } = await pool.query(
    `SELECT authors.name, count(books.id) AS books FROM authors
     LEFT JOIN books ON books.author_id = authors.id
     GROUP BY authors.id ORDER BY authors.id`
  );
  res.json(rows);
});

app.get("/health", (req, res) => res.send("ok"));

app.listen(3000, () => console.log("listening on 3000"));
