import postgres from "postgres";

const sql = postgres(process.env.DATABASE_URL, { max: 1, onnotice: () => {} });
await sql.file("schema.sql");
await sql.end();
