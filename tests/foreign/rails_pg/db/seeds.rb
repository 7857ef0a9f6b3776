%w[Ursula Italo Clarice].each do |name|
  author = Author.find_or_create_by!(name: name)
  1.upto(4) { |n| author.books.find_or_create_by!(title: "#{name} #{n}") }
end
