"""The apps of a plan: those that are measured, what stands beside them, who sends the load."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from loadtest.plan.credentials import split_credentials
from loadtest.plan.database_url import DEFAULT_FORM, DatabaseUrl
from loadtest.plan.kinds import (
    DatabaseName,
    Environment,
    Frozen,
    Millis,
    Name,
    ScenarioName,
    Scheme,
    Variable,
)


class Deployment(Frozen):
    """
    One arm: an app, deployed in some regions, measured from every region of the plan.

    A variant names another deployment in ``of`` and inherits its fly.toml; what it sets is the
    difference.
    """

    name: Name
    fly_toml: str = ""
    of: str = ""
    machines: Literal["primary", "all"] = "all"
    regions: tuple[str, ...] = ()
    """Where machines stand, of the plan's regions, in place of what ``machines`` says."""
    measured_from: tuple[str, ...] = ()
    """Client regions; empty means all regions of the plan."""
    env: Environment = {}
    headers: Environment = {}
    """Sent with every request to it, over those of the plan."""
    database: DatabaseName | Literal[""] = ""
    """A database of its own on the plan's server, migrated and seeded by this app alone."""
    new_connection_share: float = Field(default=0.0, ge=0, le=1)
    """Share of requests that find no open connection: from edge to app, and from app to database.

    What the reference app opens goes to the database over TLS.
    """
    url: str = ""
    """A running deployment to measure instead of deploying ``fly_toml``: no path."""
    at: str = ""
    """Region of the emulated network that ``url`` stands in: distance is put in front of it."""
    folder: str = ""
    """Folder that the app's command runs in, embedded; empty means that of its image."""
    command: str = ""
    """Start command of the app's only process group, in place of the one in ``fly_toml``."""
    release_command: str = ""
    """What makes its database, in place of the one in ``fly_toml``."""
    seed_command: str = ""
    """What fills it after that, in place of the one in ``fly_toml``."""
    image: str = ""
    """The app's image: embedded an OCI layout or what ``docker save`` writes, on Fly a name."""
    http: Literal["", "auto", "1.1", "2"] = ""
    """What is spoken to it; empty means what the plan's ``http`` says."""
    scheme: Scheme = ""
    """How a deployed app is called: ``http`` or ``https``; empty means what the plan's says."""
    title: str = ""
    scenarios: tuple[ScenarioName, ...] = ()
    """Scenarios of the plan's file that are played here; empty means all."""
    _credentials: str = PrivateAttr("")

    @model_validator(mode="wrap")
    @classmethod
    def _take_credentials(cls, raw: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Take user and password out of the URL: they are in no dump, no comparison, no message."""
        url = raw.get("url") if isinstance(raw, dict) else None
        plain, credentials = split_credentials(url) if isinstance(url, str) else ("", "")
        made = check({**raw, "url": plain} if credentials else raw)
        if credentials:
            made._credentials = credentials
        return made

    def with_credentials_of(self, other: Deployment) -> Deployment:
        """Return the same with the user and the password of another one's URL."""
        made = self.model_copy()
        made._credentials = other.credentials
        return made

    @property
    def credentials(self) -> str:
        """USER:PASSWORD as they stood in ``url``, percent-encoded; empty for none."""
        return self._credentials


class Companion(Frozen):
    """
    An app that is deployed beside the deployments and not measured: a cache, a queue, a worker.

    One whose image is Redis-compatible is started before the deployments, others with them.
    """

    name: Name
    fly_toml: str
    machines: Literal["primary", "all"] = "all"
    env: Environment = {}
    variable: Variable = ""
    """Variable, such as REDIS_URL, that tells every deployment the address of the nearest cache."""


class DatabaseSettings(Frozen):
    """The PostgreSQL app, deployed before the deployments; an empty ``fly_toml`` leaves it out."""

    fly_toml: str = "fly/recipes-db/fly.toml"
    name: Name = "recipes-db"
    database: DatabaseName = "recipes"
    regions: Literal["primary", "all"] = "all"
    url: DatabaseUrl = DEFAULT_FORM
    """The form of DATABASE_URL and REPLICA_DATABASE_URL."""
    first: bool = True
    """Apps start when the database is ready; false starts them beside it: they wait themselves."""


class Generator(Frozen):
    """The load generator's own app."""

    fly_toml: str = "fly/loadtest/fly.toml"
    workers_per_region: Annotated[int, Field(ge=1, le=32)] = 1
    self_check_bias_ms: Millis = 0.5
    """A worker whose client reads a known delay wrong by more than this (p99) stops the run."""
    driver_silent_s: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    """Where machines outlive the program: they end when it has been silent for so long."""
