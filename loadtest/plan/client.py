"""What the plan says of the client: look-ups of names, what TLS trusts and shows, sizes."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from loadtest.errors import PlanError

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME: Final = re.compile(r"[^\s/:@\[\]?#]+")
_FILES: Final = ("ca_file", "certificate", "key")


class ClientSettings(BaseModel):
    """The client of every user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookups: Literal["connection", "ttl", "once"] = "connection"
    """When a name is looked up: for every new connection, when its records end, once a run."""
    resolve: dict[str, str] = {}
    """Name -> address, in place of a look-up, as curl's --resolve."""
    insecure: bool = False
    """Verify no certificate; every report says so."""
    ca_file: str = ""
    """PEM file of authorities to trust in place of the system's."""
    certificate: str = ""
    """PEM file of a certificate that the client shows, and its chain."""
    key: str = ""
    """PEM file of its private key; empty: it is in the same file."""
    passphrase: str = ""
    """Of the key, as ``${NAME}``: a variable of our own environment."""
    keep_bytes: Annotated[int, Field(ge=0, le=256 * 1024 * 1024)] = 1024 * 1024
    """How much of an answer's body a scenario can read."""

    def absolute(self) -> ClientSettings:
        """Return the same with files by their whole path: workers may live in another folder."""
        found = {name: getattr(self, name) for name in _FILES}
        return self.model_copy(
            update={name: str(Path(path).absolute()) for name, path in found.items() if path}
        )


def client_faults(client: ClientSettings, world: str) -> Iterator[str]:
    """Yield what is wrong with the settings of the client; looks up no variable."""
    for name, address in client.resolve.items():
        key = f"client.resolve.{name}"
        if not _NAME.fullmatch(name):
            yield f"{key}: {name!r} is no host name; leave out scheme, port and path"
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield f"{key}: {address!r} is no address, such as 127.0.0.1 or ::1"
    for name in _FILES:
        path = getattr(client, name)
        if path and world != "embedded":
            theirs = "Fly's" if world == "fly" else "those of the workers"
            yield f"client.{name}: {path!r} is on this machine and not on {theirs}; leave it out"
        elif path and not Path(path).is_file():
            yield f"client.{name}: there is no file {path!r}"
    if client.insecure and client.ca_file:
        yield "client.insecure: verifies nothing, so client.ca_file has no meaning; leave one out"
    if client.key and not client.certificate:
        yield "client.key: belongs to a certificate; name that in client.certificate"
    if client.passphrase and not _REFERENCE.fullmatch(client.passphrase):
        yield (
            "client.passphrase: must not stand in a plan; write '${NAME}' and put it into that "
            "variable of loadtest's environment"
        )


def passphrase_of(client: ClientSettings, environ: Mapping[str, str]) -> str:
    """
    Return the passphrase of the client's key, once certificate and key are known to fit.

    Raises:
        PlanError: A variable is not set, or the files cannot be used.
    """
    match = _REFERENCE.fullmatch(client.passphrase)
    if match is not None and match[1] not in environ:
        raise PlanError(
            f"client.passphrase: {client.passphrase} is not set in the environment of loadtest"
        )
    passphrase = environ[match[1]] if match is not None else ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if client.ca_file:
            context.load_verify_locations(client.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise PlanError(
            f"client.ca_file: {client.ca_file!r} is no PEM file of authorities ({error})"
        ) from None
    try:
        if client.certificate:
            context.load_cert_chain(client.certificate, client.key or None, passphrase)
    except (OSError, ssl.SSLError) as error:
        raise PlanError(
            f"client.certificate: {client.certificate!r} cannot be used: no certificate, not that "
            f"of client.key, or the passphrase is wrong ({error})"
        ) from None
    return passphrase


def read_resolve(texts: Sequence[str]) -> dict[str, str] | None:
    """
    Return what ``--resolve HOST=ADDRESS`` gave; curl's HOST:PORT:ADDRESS is read too.

    Raises:
        PlanError: One is neither.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        if not equals:
            match = re.fullmatch(r"([^:]+):\d+:(.+)", text)
            if match is None:
                raise PlanError(f"--resolve: {text!r} is not HOST=ADDRESS")
            name, address = match[1], match[2]
        found[name.strip()] = address.strip().removeprefix("[").removesuffix("]")
    return found or None


def client_words(client: ClientSettings) -> tuple[str, ...]:
    """Return what a reader of numbers has to know of the client; nothing where all is usual."""
    said = []
    if client.insecure:
        said.append("certificates were not verified")
    if client.certificate:
        said.append("a client certificate was shown")
    if client.lookups != "connection":
        once = client.lookups == "once"
        said.append(f"names were looked up {'once' if once else 'when their records ended'}")
    if client.resolve:
        said.append(
            "given addresses: " + ", ".join(f"{n} = {a}" for n, a in client.resolve.items())
        )
    return tuple(said)
