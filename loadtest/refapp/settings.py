"""What the reference app reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from loadtest.refapp.regional_policy import RegionalSettings, database_url

ReadYourWrites = Literal["time", "lsn"]

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})


class SettingsError(Exception):
    """The environment has something wrong; the message names the variable and what it may be."""


@dataclass(frozen=True, slots=True)
class LiteSettings:
    """
    Where the file is, and who writes it.

    Args:
        folder: Folder of the file: LITE_FOLDER; empty for one that ends with the process.
        host: Address that the primary listens on: FLY_PRIVATE_IP, else this machine only.
        port: Port that it listens on: LITE_PORT.
        place: Where the primary listens, seen from other regions: LITE_PRIMARY.
        primary: Whether this process is the primary.
    """

    folder: str
    host: str
    port: int
    place: tuple[str, int]
    primary: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> LiteSettings | None:
        """
        Read the settings; None where LITE_PRIMARY is not set.

        Raises:
            SettingsError: A variable has a value that cannot be meant.
        """
        text = environ.get("LITE_PRIMARY", "")
        if not text:
            return None
        return cls(
            folder=environ.get("LITE_FOLDER", ""),
            host=environ.get("FLY_PRIVATE_IP") or "127.0.0.1",
            port=int(number(environ, "LITE_PORT", 7500, 1, 65_535)),
            place=place("LITE_PRIMARY", text),
            primary=environ.get("FLY_REGION") == environ.get("PRIMARY_REGION"),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The app's settings.

    Args:
        host: Address to listen on: HOST, by default this machine only.
        port: Port to listen on: PORT.
        region: Where this process runs: FLY_REGION, or ``local``.
        primary_url: The database that takes writes: DATABASE_URL.
        read_url: The database that pages use; the same one, or a replica nearby.
        regional: The regional middleware's settings; None where REGIONAL_DATABASE is off.
        base_ms: The app's own work on a page, in milliseconds: APP_BASE_MS, one number or, by the
            region of the edge that took the request, ``cdg=75.1,syd=45.8``; ``""`` is the default.
        pool_size: Connections in the pool: DB_POOL.
        new_connection_share: Share of requests that open a database connection, though the pool
            has some: NEW_CONNECTION_SHARE.
        new_connection_url: Where those reach the primary database: NEW_CONNECTION_URL, or
            DATABASE_URL.
        primary_pool: Connections to the primary database beside it, outside the primary region:
            PRIMARY_POOL; 0 for none.
        cache_url: Where fragments and sessions are kept: CACHE_URL, else REDIS_URL; may be empty.
        queue_url: Where jobs are put: QUEUE_URL; may be empty.
        read_your_writes: READ_YOUR_WRITES: by ``time``, some seconds in the primary region after a
            write, or by ``lsn``, as soon as the replica has it.
        peer_caches: The caches of the other regions, where they take over each other's writes, by
            region: CACHE_PEERS; may be empty.
        lite: The database is a file beside the app, in place of a PostgreSQL; see `LiteSettings`.
    """

    host: str
    port: int
    region: str
    primary_url: str
    read_url: str
    regional: RegionalSettings | None
    base_ms: Mapping[str, float]
    pool_size: int
    new_connection_share: float = 0.0
    new_connection_url: str = ""
    primary_pool: int = 0
    cache_url: str = ""
    queue_url: str = ""
    read_your_writes: ReadYourWrites = "time"
    peer_caches: Mapping[str, str] = field(default_factory=dict)
    lite: LiteSettings | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """
        Read the settings.

        Raises:
            SettingsError: A variable is missing or has a value that cannot be meant.
        """
        primary_url = environ.get("DATABASE_URL", "")
        lite = LiteSettings.from_environ(environ)
        if not primary_url and lite is None:
            raise SettingsError(
                "DATABASE_URL is not set: expected postgres://user:password@host:5432/recipes"
            )
        regional = _regional(environ)
        return cls(
            host=environ.get("HOST") or "127.0.0.1",
            port=int(number(environ, "PORT", 8080, 0, 65_535)),
            region=environ.get("FLY_REGION") or "local",
            primary_url=primary_url,
            read_url=database_url(environ, regional) or primary_url,
            regional=regional,
            base_ms=_base_times(environ),
            pool_size=int(number(environ, "DB_POOL", 16, 1, 1_000)),
            new_connection_share=number(environ, "NEW_CONNECTION_SHARE", 0, 0, 1),
            new_connection_url=environ.get("NEW_CONNECTION_URL") or primary_url,
            primary_pool=int(number(environ, "PRIMARY_POOL", 0, 0, 1_000)),
            cache_url=cache_url(environ, "CACHE_URL") or cache_url(environ, "REDIS_URL"),
            queue_url=cache_url(environ, "QUEUE_URL"),
            read_your_writes=_read_your_writes(environ),
            peer_caches={
                name: cache_url({"CACHE_PEERS": url}, "CACHE_PEERS")
                for name, url in pairs(environ, "CACHE_PEERS").items()
                if name != environ.get("FLY_REGION")
            },
            lite=lite,
        )

    def base_ms_for(self, edge: str) -> float:
        """Return the base time of a page that a client of one region asks for, in milliseconds."""
        return self.base_ms.get(edge, self.base_ms.get("", 0.0))


def _base_times(environ: Mapping[str, str]) -> dict[str, float]:
    """Return APP_BASE_MS by region; a number without a region is the default."""
    pairs = [part.rpartition("=") for part in (environ.get("APP_BASE_MS") or "0").split(",")]
    return {
        region.strip(): number({"APP_BASE_MS": value}, "APP_BASE_MS", 0, 0, 60_000)
        for region, _, value in pairs
    }


def _regional(environ: Mapping[str, str]) -> RegionalSettings | None:
    """Return the middleware's settings if REGIONAL_DATABASE is on."""
    value = environ.get("REGIONAL_DATABASE", "").lower()
    if value not in _ON | _OFF:
        raise SettingsError(f"REGIONAL_DATABASE is {value!r}: expected 1 or 0")
    if value in _OFF:
        return None
    try:
        settings = RegionalSettings.from_environ(environ)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if settings is None:
        raise SettingsError("REGIONAL_DATABASE is on, but PRIMARY_REGION or FLY_REGION is not set")
    return settings


def cache_url(environ: Mapping[str, str], name: str) -> str:
    """
    Return the URL of a Redis-compatible server, or nothing.

    Raises:
        SettingsError: The variable has something else.
    """
    url = environ.get(name, "")
    if url and not url.startswith(("redis://", "rediss://", "valkey://", "valkeys://")):
        raise SettingsError(f"{name} is set, but not to redis://host:6379/0")
    return url


def pairs(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """
    Return what a variable gives each region: ``cdg=...,ord=...``.

    Raises:
        SettingsError: It has something else.
    """
    text = environ.get(name, "")
    found = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if not all(region and value for region, _, value in found):
        raise SettingsError(f"{name} is {text[:80]!r}: expected cdg=...,ord=...")
    return {region: value for region, _, value in found}


def place(name: str, text: str) -> tuple[str, int]:
    """
    Return host and port of ``host:port``.

    Raises:
        SettingsError: It is something else; the variable is named.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise SettingsError(f"{name} has {text[:80]!r}: expected cdg.app.internal:7400")
    return host.strip("[]"), int(port)


def _read_your_writes(environ: Mapping[str, str]) -> ReadYourWrites:
    """Return how a visitor is shown what was written."""
    value = environ.get("READ_YOUR_WRITES") or "time"
    if value == "time":
        return "time"
    if value == "lsn":
        return "lsn"
    raise SettingsError(f"READ_YOUR_WRITES is {value!r}: expected time or lsn")


def number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """
    Return a number within bounds.

    Raises:
        SettingsError: The variable has something else.
    """
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text!r}: expected a number from {low:g} to {high:g}")
    return value
