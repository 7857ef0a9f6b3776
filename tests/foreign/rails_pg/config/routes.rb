Rails.application.routes.draw do
  root "shelves#show"
  get "/up", to: ->(_env) { [200, { "Content-Type" => "text/plain" }, ["ok"]] }
end
