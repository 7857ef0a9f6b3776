CREATE TABLE IF NOT EXISTS authors (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS books (
    id serial PRIMARY KEY,
    author_id integer NOT NULL REFERENCES authors,
    title text NOT NULL UNIQUE
);
INSERT INTO authors (name) VALUES ('Ursula'), ('Italo'), ('Clarice') ON CONFLICT DO NOTHING;
INSERT INTO books (author_id, title)
    SELECT authors.id, authors.name || ' ' || n FROM authors, generate_series(1, 4) n
    ON CONFLICT DO NOTHING;
