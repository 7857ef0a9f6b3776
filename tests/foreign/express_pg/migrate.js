const fs = require("fs");
const { Client } = require("pg");

(async () => {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(fs.readFileSync("schema.sql", "utf8"));
  await client.end();
})();
