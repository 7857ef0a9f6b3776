require "pg"

PG.connect(ENV.fetch("DATABASE_URL")).exec(File.read("schema.sql"))
