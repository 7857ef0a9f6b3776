"""Last words of apps of many kinds, and what is said to them."""

from __future__ import annotations

import pytest

from loadtest.run.advice import advise, with_advice


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("    return environ[key]\nKeyError: 'SECRET_KEY'", "SECRET_KEY"),
        ("Error: STRIPE_API_KEY is required", "STRIPE_API_KEY"),
        ("django.core.exceptions.ImproperlyConfigured: Set the DJANGO_SECRET environment variable",
         "DJANGO_SECRET"),
        ("panic: environment variable JWT_SECRET not set", "JWT_SECRET"),
        ("environment variable \"SESSION_KEY\" must be set", "SESSION_KEY"),
        ("ArgumentError: Missing `RAILS_MASTER_KEY`", "RAILS_MASTER_KEY"),
        ("pydantic: missing required environment variables: API_TOKEN", "API_TOKEN"),
        ("Missing required environment variable: MAIL_URL", "MAIL_URL"),
        ("** (RuntimeError) environment variable SECRET_KEY_BASE is missing.", "SECRET_KEY_BASE"),
    ],
)  # fmt: skip
def test_a_variable_that_is_missed_is_named_with_the_flags_that_give_it(
    told: str, name: str
) -> None:
    assert advise(told).startswith(f"{name} is not in its environment: give it with --env {name}=")


@pytest.mark.parametrize(
    "told",
    [
        "Error: Cannot find module 'express'",
        "  code: 'MODULE_NOT_FOUND',",
        "ModuleNotFoundError: No module named 'flask'",
        "LoadError: cannot load such file -- bundler/setup",
        "command 'gunicorn' was not found in /srv or on PATH /usr/bin",
        "sh: 1: gunicorn: not found",
        "bash: line 1: uvicorn: command not found",
        "./server: error while loading shared libraries: libpq.so.5",
    ],
)
def test_programs_that_are_missed_point_to_setup(told: str) -> None:
    assert "--setup 'npm ci'" in advise(told)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ('ERROR:  extension "postgis" is not available', "no extension postgis"),
        ('could not open extension control file "/x/extension/vector.control"', "extension vector"),
        ("Error: listen EADDRINUSE: address already in use :::3000", "listen on $PORT"),
        ("REDIS_URL is undefined", "--redis puts a compatible server"),
        ("redis.ConnectionError: Error 111 connecting to localhost:6379.", "it wants Redis"),
        ("MongoServerSelectionError: connect ECONNREFUSED 127.0.0.1:27017", "want MongoDB"),
        ("Can't connect to MySQL server on '127.0.0.1:3306'", "want MySQL"),
    ],
)
def test_what_the_world_lacks_is_told_apart(told: str, words: str) -> None:
    assert words in advise(told)


@pytest.mark.parametrize("told", ["", "Segmentation fault", "ValueError: RED is no colour"])
def test_nothing_is_said_of_what_nobody_knows(told: str) -> None:
    assert advise(told) == ""
    assert with_advice(told) == told
