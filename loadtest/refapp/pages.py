"""The reference app's HTML: a few templates, every value escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from urllib.parse import urlencode


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class City:
    """A city as a page shows it."""

    id: int
    slug: str
    name: str
    country: str
    recipes: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as a page shows it."""

    id: int
    title: str
    summary: str
    ingredients: str
    minutes: int
    cooked: int


@dataclass(frozen=True, slots=True)
class RecipeInCity(Recipe):
    """A recipe with the city it belongs to."""

    city: str
    city_slug: str


def render(template: Template, **values: object) -> Html:
    """Fill a template in; values are escaped unless they are `Html`."""
    safe = {
        name: value if isinstance(value, Html) else escape(str(value), quote=True)
        for name, value in values.items()
    }
    return Html(template.substitute(safe))


def join(parts: Iterable[Html]) -> Html:
    """Return pieces of HTML one after the other."""
    return Html("\n".join(parts))


def start_page(region: str, cities: Sequence[City]) -> Html:
    """Return the page that lists the cities."""
    body = render(
        _START,
        form=_search_form("", ""),
        cities=join(
            render(_CITY, name=c.name, country=c.country, recipes=c.recipes, link=_link(c.slug))
            for c in cities
        ),
    )
    return _page("Recipes of the world", region, body)


def city_page(region: str, city: City, search: str, recipes: Sequence[Recipe]) -> Html:
    """Return the page that lists a city's recipes: the one that is measured."""
    found = f"{len(recipes)} of {city.recipes} recipes" + (f" with “{search}”" if search else "")
    body = render(
        _CITY_PAGE,
        city=city.name,
        country=city.country,
        found=found,
        form=_search_form(city.slug, search),
        recipes=join(_card(recipe) for recipe in recipes) or _NOTHING,
        slug=city.slug,
    )
    return _page(f"Recipes from {city.name}", region, body)


def recipe_page(region: str, recipe: RecipeInCity) -> Html:
    """Return the page of one recipe."""
    items = [item.strip() for item in recipe.ingredients.split(",") if item.strip()]
    body = render(
        _RECIPE_PAGE,
        title=recipe.title,
        summary=recipe.summary,
        ingredients=join(render(_INGREDIENT, item=item) for item in items),
        minutes=recipe.minutes,
        cooked=recipe.cooked,
        city=recipe.city,
        link=_link(recipe.city_slug),
        id=recipe.id,
    )
    return _page(recipe.title, region, body)


def message_page(region: str, title: str, sentences: Sequence[str]) -> Html:
    """Return a page that says what went wrong."""
    body = join(render(_SENTENCE, text=text) for text in sentences)
    return _page(title, region, body)


def _page(title: str, region: str, body: Html) -> Html:
    """Return a whole document."""
    return render(_DOCUMENT, title=title, region=region, body=body, style=_STYLE)


def _card(recipe: Recipe) -> Html:
    """Return a recipe in a list."""
    return render(
        _CARD,
        id=recipe.id,
        title=recipe.title,
        summary=recipe.summary,
        ingredients=recipe.ingredients,
        minutes=recipe.minutes,
        cooked=recipe.cooked,
    )


def _search_form(city: str, search: str) -> Html:
    """Return the form that searches."""
    return render(_FORM, city=city, search=search)


def _link(slug: str) -> str:
    """Return the address of a city's page."""
    return "/recipes?" + urlencode({"city": slug})


_STYLE = Html(
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "article{border-top:1px solid #ccc;padding:.6rem 0}h3{margin:0}footer,small{color:#666}"
    "form{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0}input,textarea{font:inherit}"
)

_DOCUMENT = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><a href="/">Recipes</a></header>
<main>
<h1>$title</h1>
$body
</main>
<footer>Served from $region</footer>
</body>
</html>
""")

_START = Template("""\
$form
<ul>
$cities
</ul>""")

_CITY = Template('<li><a href="$link">$name</a>, $country <small>($recipes)</small></li>')

_FORM = Template("""\
<form action="/recipes" method="get" role="search">
<label>City <input name="city" value="$city" required></label>
<label>Search <input name="q" value="$search" maxlength="100"></label>
<button>Find</button>
</form>""")

_CITY_PAGE = Template("""\
<p>$found. What people cook in $city, $country.</p>
$form
<section>
$recipes
</section>
<h2>Add a recipe</h2>
<form action="/recipes" method="post">
<input type="hidden" name="city" value="$slug">
<label>Title <input name="title" maxlength="120" required></label>
<label>Minutes <input name="minutes" type="number" min="1" max="1440" value="30"></label>
<label>Ingredients <textarea name="ingredients" maxlength="2000"></textarea></label>
<button>Add</button>
</form>""")

_CARD = Template("""\
<article id="recipe-$id">
<h3><a href="/recipes/$id">$title</a></h3>
<p>$summary</p>
<small>$minutes minutes, cooked $cooked times. $ingredients</small>
</article>""")

_RECIPE_PAGE = Template("""\
<p>$summary</p>
<ul>
$ingredients
</ul>
<p>$minutes minutes, cooked $cooked times. <a href="/recipes/$id/cooked">I cooked this</a></p>
<p><a href="$link">More from $city</a></p>""")

_INGREDIENT = Template("<li>$item</li>")
_SENTENCE = Template("<p>$text</p>")
_NOTHING = Html("<p>Nothing found.</p>")
