package main

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var schema string

const authors = `SELECT authors.name, count(books.id) FROM authors
LEFT JOIN books ON books.author_id = authors.id
GROUP BY authors.id ORDER BY authors.id`

func shelf(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rows, err := pool.Query(r.Context(), authors)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var books int
			if err := rows.Scan(&name, &books); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%s: %d\n", name, books)
		}
	}
}

func main() {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 1 && os.Args[1] == "migrate" {
		if _, err := pool.Exec(context.Background(), schema); err != nil {
			log.Fatal(err)
		}
		return
	}
	http.HandleFunc("GET /{$}", shelf(pool))
	log.Fatal(http.ListenAndServe(":8080", nil))
}
