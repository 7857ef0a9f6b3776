"""Passwords and keys of one run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.run.own_keys import curve_keys


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Passwords and keys of one run, made anew for each; never shown, never stored."""

    database: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    replication: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    curve: Mapping[str, str] = field(default_factory=curve_keys)
