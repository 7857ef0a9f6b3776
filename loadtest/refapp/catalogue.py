"""The cities and recipes that every installation starts with, always the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CitySeed:
    """A city, the Fly region that is nearest to it, and what people cook there."""

    region: str
    name: str
    country: str
    dishes: tuple[str, str, str]
    produce: tuple[str, str, str]

    @property
    def slug(self) -> str:
        """Return the name as it stands in URLs."""
        return slugify(self.name)


@dataclass(frozen=True, slots=True)
class RecipeSeed:
    """A recipe of a city; ``id`` is fixed, so that seeding twice changes nothing."""

    id: int
    city: str
    title: str
    summary: str
    ingredients: str
    minutes: int


def slugify(text: str) -> str:
    """Return text as lower-case ASCII words joined by hyphens; accents are dropped."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _cities() -> Iterator[CitySeed]:
    """Read the table below: region | city | country | three dishes | three kinds of produce."""
    for line in _TABLE.strip().splitlines():
        region, name, country, dishes, produce = (part.strip() for part in line.split("|"))
        first, second, third = dishes.split(", ")
        one, two, three = produce.split(", ")
        yield CitySeed(region, name, country, (first, second, third), (one, two, three))


_TABLE = """
ams|Amsterdam|Netherlands|Stamppot, Erwtensoep, Poffertjes|kale, herring, gouda
arn|Stockholm|Sweden|Janssons frestelse, Köttbullar, Pytt i panna|salmon, beetroot, lingonberries
atl|Atlanta|United States|Shrimp and grits, Peach cobbler, Brunswick stew|okra, peaches, catfish
bog|Bogota|Colombia|Ajiaco, Arepas de choclo, Changua|potatoes, maize, guavas
bom|Mumbai|India|Vada pav, Pav bhaji, Bombay duck curry|okra, coconut, pomfret
bos|Boston|United States|Clam chowder, Baked beans, Boston cream pie|clams, cranberries, cod
cdg|Paris|France|Soupe à l'oignon, Croque-monsieur, Tarte fine|leeks, mushrooms, pears
den|Denver|United States|Green chili, Denver omelette, Bison meatloaf|trout, sweetcorn, chilies
dfw|Dallas|United States|Brisket, Chili con carne, Pecan pie|beef ribs, pecans, peppers
ewr|Secaucus NJ|United States|Taylor ham roll, Tomato pie, Disco fries|tomatoes, berries, mussels
eze|Buenos Aires|Argentina|Locro, Milanesa, Empanadas|flank steak, pumpkin, quinces
fra|Frankfurt|Germany|Grüne Soße, Handkäs mit Musik, Bethmännchen|asparagus, apples, sorrel
gdl|Guadalajara|Mexico|Birria, Tortas ahogadas, Pozole|agave, hominy, limes
gru|São Paulo|Brazil|Feijoada, Virado à paulista, Cuscuz paulista|black beans, cassava, limes
hkg|Hong Kong|China|Wonton noodles, Claypot rice, Egg tarts|bok choy, prawns, lychees
iad|Ashburn VA|United States|Crab cakes, Ham biscuits, Peanut soup|blue crab, peanuts, apples
jnb|Johannesburg|South Africa|Bobotie, Chakalaka, Bunny chow|maize, butternut, guavas
lax|Los Angeles|United States|Fish tacos, Cobb salad, French dip|avocados, oranges, rockfish
lhr|London|United Kingdom|Pie and mash, Kedgeree, Eton mess|peas, haddock, strawberries
mad|Madrid|Spain|Cocido madrileño, Tortilla, Callos|chickpeas, peppers, almonds
mia|Miami|United States|Cuban sandwich, Key lime pie, Stone crab|plantains, grouper, mangoes
nrt|Tokyo|Japan|Monjayaki, Oyakodon, Chanko nabe|daikon, mackerel, persimmons
ord|Chicago|United States|Deep-dish pizza, Italian beef, Hot tamales|sweetcorn, sausage, cherries
otp|Bucharest|Romania|Sarmale, Mici, Papanași|cabbage, sour cream, plums
phx|Phoenix|United States|Chimichanga, Navajo fry bread, Carne seca|citrus, chilies, dates
qro|Queretaro|Mexico|Enchiladas queretanas, Gorditas, Nopales en penca|nopales, cheese, peaches
scl|Santiago|Chile|Pastel de choclo, Cazuela, Porotos granados|pumpkin, conger eel, avocados
sea|Seattle|United States|Cedar-plank salmon, Geoduck chowder, Teriyaki|oysters, apples, cherries
sin|Singapore|Singapore|Laksa, Chicken rice, Kaya toast|pandan, prawns, mangosteens
sjc|San Jose CA|United States|Cioppino, Pho, Apricot galette|artichokes, garlic, apricots
syd|Sydney|Australia|Barramundi parcels, Meat pie, Lamingtons|prawns, macadamias, pumpkin
waw|Warsaw|Poland|Pierogi, Bigos, Żurek|beetroot, mushrooms, plums
yul|Montreal|Canada|Poutine, Tourtière, Pouding chômeur|maple syrup, smoked meat, fiddleheads
yyz|Toronto|Canada|Peameal sandwich, Butter tarts, Jerk chicken|pickerel, peaches, squash
"""

CITIES: tuple[CitySeed, ...] = tuple(_cities())

_METHODS = (
    (
        "Roasted {}",
        "High heat, a heavy tray and nothing else to do.",
        "olive oil, garlic, thyme",
        40,
    ),
    ("Soup of {}", "One pot, and better on the second day.", "stock, an onion, cream", 35),
    ("Salad with {}", "Cold, sharp and quick.", "vinegar, mustard, herbs", 15),
)


def seed_recipes() -> Iterator[RecipeSeed]:
    """Yield the recipes: twelve for each city, in the order of their ids."""
    number = 0
    for city in CITIES:
        for position, dish in enumerate(city.dishes):
            number += 1
            yield RecipeSeed(
                id=number,
                city=city.slug,
                title=dish,
                summary=f"{dish}, as they make it in {city.name}.",
                ingredients=f"{city.produce[position]}, salt, butter, what the market has",
                minutes=30 + 15 * position,
            )
        for produce in city.produce:
            for title, summary, pantry, minutes in _METHODS:
                number += 1
                yield RecipeSeed(
                    id=number,
                    city=city.slug,
                    title=title.format(produce),
                    summary=f"{summary} The {city.name} way.",
                    ingredients=f"{produce}, {pantry}",
                    minutes=minutes,
                )
