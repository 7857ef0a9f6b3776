class ShelvesController < ApplicationController
  def show
    authors = Author.left_joins(:books).group(:id).order(:id)
                    .select("authors.*, count(books.id) AS shelved")
    render json: authors.map { |author| { name: author.name, books: author.shelved } }
  end
end
