import Fastify from "fastify";
import postgres from "postgres";

const sql = postgres(process.env.DATABASE_URL, { max: 8 });
const app = Fastify();

app.get("/", async () => {
  return sql`
    SELECT authors.name, count(books.id) AS books FROM authors
    LEFT JOIN books ON books.author_id = authors.id
    GROUP BY authors.id ORDER BY authors.id`;
});

app.get("/health", async () => ({ ok: true }));

await app.listen({ host: "::", port: Number(process.env.PORT ?? 3000) });
