"""
The certificate authority of one world: it signs for the edges, and machines trust it.

It lives and dies with the world; its key never leaves this process.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

_LOCAL_NAMES = ("localhost", "127.0.0.1")
_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_PROTOCOLS = ["h2", "http/1.1"]


class WorldAuthority:
    """
    An authority, and what it has signed.

    Args:
        folder: The world's folder.

    Attributes:
        file: PEM file with its certificate, for who trusts nobody else.
        bundle: PEM file with its certificate and those that this machine trusts.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(
            organization_name="loadtest", organization_unit_name="of one emulated world"
        )
        self._contexts: dict[str, ssl.SSLContext] = {}
        own = self._authority.cert_pem.bytes()
        self.file = folder / "authority.pem"
        self.file.write_bytes(own)
        self.bundle = folder / "authorities.pem"
        self.bundle.write_bytes(_trusted_here() + own)

    def context(self, app: str) -> ssl.SSLContext:
        """
        Return what edges end TLS with for an app: ``<app>.fly.dev`` and this machine's loopback.

        HTTP/2 is preferred, as by Fly's edges.
        """
        found = self._contexts.get(app)
        if found is None:
            names = (f"{app}.fly.dev", f"{app}.flycast", *_LOCAL_NAMES)
            found = self._contexts[app] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            found.set_alpn_protocols(_PROTOCOLS)
            self._authority.issue_cert(*names).configure_cert(found)
        return found

    def private_context(self, app: str) -> ssl.SSLContext:
        """Return what a server of an app ends TLS with inside of the private network."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.num_tickets = 0  # nobody resumes a session, and a ticket is one flight more
        names = (f"{app}.internal", f"*.{app}.internal", *_LOCAL_NAMES)
        self._authority.issue_cert(*names).configure_cert(found)
        return found


def _trusted_here() -> bytes:
    """Return the certificates that this machine trusts; empty where no file has them all."""
    for file in (ssl.get_default_verify_paths().cafile, *_STORES):
        if file and Path(file).is_file():
            text = Path(file).read_bytes()
            return text if text.endswith(b"\n") else text + b"\n"
    return b""
