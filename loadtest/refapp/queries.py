"""The reference app's SQL.  Each statement is one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

_CITY: LiteralString = """
SELECT cities.id, slug, name, country,
       (SELECT count(*) FROM recipes WHERE city_id = cities.id) AS recipes
FROM cities
"""

ALL_CITIES: LiteralString = _CITY + "ORDER BY name"

ONE_CITY: LiteralString = (
    _CITY + "WHERE CASE WHEN %(slug)s = '' THEN region = %(region)s ELSE slug = %(slug)s END"
)

RECIPES_OF_A_CITY: LiteralString = """
SELECT id, title, summary, ingredients, minutes, cooked
FROM recipes
WHERE city_id = %(city_id)s AND (title ILIKE %(pattern)s OR ingredients ILIKE %(pattern)s)
ORDER BY id DESC
LIMIT 24
"""

ONE_RECIPE: LiteralString = """
SELECT recipes.id, title, summary, ingredients, minutes, cooked,
       cities.name AS city, cities.slug AS city_slug
FROM recipes JOIN cities ON cities.id = city_id
WHERE recipes.id = %(id)s
"""

ADD_RECIPE: LiteralString = """
INSERT INTO recipes (city_id, title, summary, ingredients, minutes)
SELECT cities.id, %(title)s, %(summary)s, %(ingredients)s, %(minutes)s
FROM cities WHERE slug = %(city)s
RETURNING id
"""

COUNT_COOKED: LiteralString = """
UPDATE recipes SET cooked = cooked + 1 WHERE id = %(id)s RETURNING id
"""


COOK: LiteralString = """
UPDATE recipes SET cooked = cooked + 1 WHERE id = %(id)s RETURNING cooked
"""

COOKED: LiteralString = "SELECT cooked FROM recipes WHERE id = %(id)s"

SOME_RECIPES: LiteralString = """
SELECT id FROM recipes WHERE city_id = (SELECT id FROM cities WHERE slug = %(city)s)
ORDER BY id
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Cooked:
    """How often a recipe was cooked."""

    cooked: int


@dataclass(frozen=True, slots=True)
class RecipeId:
    """What a write returns."""

    id: int


def contains(text: str) -> str:
    """Return a pattern for LIKE that matches anything with ``text`` in it, taken literally."""
    literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"
