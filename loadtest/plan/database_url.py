"""The form of DATABASE_URL: what drivers and frameworks want to see in it."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

DEFAULT_FORM: Final = "postgres://{user}:{password}@{host}:{port}/{name}"
FIELDS: Final = ("user", "password", "host", "port", "name")


def _checked(form: str) -> str:
    """
    Return a form that can be filled in.

    Raises:
        ValueError: It has other fields, or no host.
    """
    try:
        parts = list(string.Formatter().parse(form))
    except ValueError as error:
        raise ValueError(f"{form!r}: {error}; it is like {DEFAULT_FORM}") from error
    used = [name for _, name, _, _ in parts if name is not None]
    odd = [name for name in used if name not in FIELDS]
    odd += [text for _, _, spec, turn in parts for text in (spec, turn) if text]
    if odd:
        raise ValueError(
            f"{form!r}: {{{odd[0]}}} is no field of it; there are "
            + ", ".join(f"{{{name}}}" for name in FIELDS)
        )
    if "host" not in used:
        raise ValueError(f"{form!r}: has no {{host}}; it is like {DEFAULT_FORM}")
    return form


DatabaseUrl = Annotated[str, Field(max_length=500), AfterValidator(_checked)]


def fill_url(form: str, values: Mapping[str, str]) -> str:
    """Return an address of the form; ``values`` holds one for each of `FIELDS`."""
    return form.format_map(values)
