"""What TLS connections trust and show: authorities, a certificate of the client's own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from loadtest.errors import EngineError
from loadtest.records.kinds import HTTP_1, HTTP_2, HTTP_AUTO

_OFFERS: Final = {HTTP_AUTO: ["h2", "http/1.1"], HTTP_1: ["http/1.1"], HTTP_2: ["h2"]}


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """
    What a client trusts and shows.

    Args:
        ca_file: PEM file to trust where the target names none; empty: the system's.
        insecure: Verify neither chain nor name.
        certificate: PEM file with the client's certificate and its chain; empty: none is shown.
        key: PEM file with its private key; empty: it is in the same file.
        passphrase: Of the key; empty for none.
    """

    ca_file: str = ""
    insecure: bool = False
    certificate: str = ""
    key: str = ""
    passphrase: str = field(default="", repr=False)

    def for_others(self) -> TlsChoice:
        """Return what counts for hosts that are not the target: they see no certificate."""
        return replace(self, certificate="", key="", passphrase="")


PLAIN: Final = TlsChoice()


@lru_cache(maxsize=64)
def tls_context(ca_file: str, http: str, choice: TlsChoice = PLAIN) -> ssl.SSLContext:
    """
    Return a client context, verifying chain and name unless told otherwise.

    Args:
        ca_file: PEM file of the target's authority; empty: what ``choice`` says.
        http: What ALPN offers: ``auto``, ``1.1`` or ``2``.
        choice: What is trusted and shown.

    Raises:
        EngineError: A file cannot be used.
    """
    ca_file = ca_file or choice.ca_file
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise EngineError(
            f"CA file {ca_file!r} cannot be read as PEM certificates: {error}"
        ) from None
    if choice.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if choice.certificate:
        try:
            # a text, empty or not: without one OpenSSL would ask on the terminal
            context.load_cert_chain(choice.certificate, choice.key or None, choice.passphrase)
        except (OSError, ssl.SSLError) as error:
            raise EngineError(
                f"client certificate {choice.certificate!r} cannot be used with its key: {error}"
            ) from None
    context.set_alpn_protocols(_OFFERS[http])
    return context
