ActiveRecord::Schema.define(version: 2024_11_04_091244) do
  enable_extension "plpgsql"

  create_table "authors", force: :cascade do |t|
    t.string "name", null: false
    t.index ["name"], name: "index_authors_on_name", unique: true
  end

  create_table "books", force: :cascade do |t|
    t.bigint "author_id", null: false
    t.string "title", null: false
    t.index ["author_id"], name: "index_books_on_author_id"
  end

  add_foreign_key "books", "authors"
end
