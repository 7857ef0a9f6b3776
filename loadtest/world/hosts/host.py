"""One machine as a host: its network namespace, its addresses, and what its /etc says."""

from __future__ import annotations

import contextlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loadtest.kernel import interfaces, namespaces

PRIVATE_NETWORK = "fdaa::/16"
"""6PN: every machine's address is in it (Fly's documentation, networking/private-networking)."""

OUTSIDE_NETWORK = "198.18.0.0/15"
"""Addresses that stand for hosts outside of the world (RFC 2544's block for such trials)."""

RESOLVER_ADDRESS = "fdaa::3"
"""Where Fly's name server answers, and ours."""

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where programs look first for the certificates to trust: Debian, Alpine, and Go anywhere."""

_STORES = (AUTHORITIES, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_PLACES, _PLACE, _PORCH = "places", "network", "porch"
_PORCH_IP6, _PORCH_IP4 = "fdaa:ffff::1", "172.31.255.254"


class MachineHost:
    """
    A network namespace, a second one before its door, and files that tell who it is.

    Whatever the machine sends to another goes out of the door into the *porch*, which owns every
    address there is.  The near ends of links listen there, each on the address and port of the
    machine it leads to, so nothing gets any further but over a link.

    Attributes:
        place: File that its network namespace is bound to, for `SocketMaker`.
        porch: File that the network namespace before its door is bound to.
        ip6: Its 6PN address.
        descriptor: Of its network namespace.
        files: What it shows in place of files of this machine, by their paths.
    """

    def __init__(
        self,
        folder: Path,
        files: dict[Path, Path],
        name: str,
        ip6: str,
        authorities: Path | None = None,
    ) -> None:
        self.place = folder / _PLACE
        self.porch = folder / _PORCH
        self.ip6 = ip6
        self.files = files
        self._name = name
        self._authorities = authorities
        self.descriptor = os.open(self.place, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def make(
        cls, base: Path, name: str, ip6: str, ip4: str, *, authorities: Path | None = None
    ) -> MachineHost:
        """
        Make the host of a machine.

        Args:
            base: The world's folder.
            name: The machine's id, which becomes its hostname.
            ip6: Its 6PN address.
            ip4: Its IPv4 address.
            authorities: PEM file with the certificates that it trusts; None for this machine's.

        Raises:
            OSError: The kernel refused.
        """
        folder = base / _PLACES / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in (_PLACE, _PORCH):
            (folder / file).touch()
        with ThreadPoolExecutor(1) as thread:  # it is changed for good, so it ends
            thread.submit(_make_networks, folder, ip6, ip4).result()
        files = _write_files(folder, name, ip6, ip4)
        if authorities is not None:
            stores = (Path(store).resolve() for store in _STORES if Path(store).exists())
            files |= dict.fromkeys(stores, authorities)
        return cls(folder, files, name, ip6, authorities)

    def enter(self) -> None:
        """
        Become this host; for a child between fork and exec.

        Raises:
            OSError: The kernel refused.
        """
        namespaces.enter(self.descriptor, namespaces.NEW_NETWORK)
        namespaces.unshare(namespaces.NEW_MOUNTS | namespaces.NEW_HOSTNAME)
        namespaces.set_hostname(self._name)
        for target, source in self.files.items():
            namespaces.bind(source, target)

    @property
    def name(self) -> str:
        """Return its name in its network."""
        return self._name

    def enter_network(self) -> None:
        """
        Move into this host's network alone; for a child that has a file tree of its own.

        Raises:
            OSError: The kernel refused.
        """
        namespaces.enter(self.descriptor, namespaces.NEW_NETWORK)

    def texts(self) -> dict[str, str]:
        """Return the files in ``/etc`` that tell who it is and whom it trusts, by name."""
        files = {name: self.place.parent / name for name in ("hosts", "resolv.conf")}
        if self._authorities is not None:
            files[AUTHORITIES.removeprefix("/etc/")] = self._authorities
        return {name: file.read_text(encoding="utf-8") for name, file in files.items()}

    def close(self) -> None:
        """Let go of it; the kernel ends it with its last process and socket."""
        os.close(self.descriptor)
        for place in (self.place, self.porch):
            namespaces.unbind(place)

    def resolver_socket(self, maker: namespaces.SocketMaker) -> socket.socket:
        """Return the bound UDP socket that its name server answers on."""
        sock = maker.make(str(self.porch), socket.AF_INET6, socket.SOCK_DGRAM)
        namespaces.listen_anywhere(sock)
        sock.bind((RESOLVER_ADDRESS, 53))
        sock.setblocking(False)
        return sock


def release_places(base: Path) -> None:
    """Take off whatever is mounted in a world's folder, networks too, so that it can be removed."""
    for place in reversed(namespaces.mounts_in(base)):
        with contextlib.suppress(OSError):
            namespaces.unbind(place)


def _make_networks(folder: Path, ip6: str, ip4: str) -> None:
    """Make the machine's network and its porch, joined by a cable; for a thread that ends."""
    namespaces.unshare(namespaces.NEW_NETWORK)
    # programs of ordinary users listen on 80, as in a machine of Fly
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")
    namespaces.bind("/proc/thread-self/ns/net", folder / _PLACE)
    machine = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.unshare(namespaces.NEW_NETWORK)
        namespaces.bind("/proc/thread-self/ns/net", folder / _PORCH)
        interfaces.add_cable("door", "eth0", machine)
        interfaces.bring_up("lo")
        interfaces.bring_up("door", _PORCH_IP6, _PORCH_IP4)
        interfaces.add_route(PRIVATE_NETWORK, "lo", kind="local", table=interfaces.LOCAL_TABLE)
        interfaces.add_route(OUTSIDE_NETWORK, "lo", kind="local", table=interfaces.LOCAL_TABLE)
        # the one address of all that is not the porch's own
        interfaces.add_route(f"{ip6}/128", "door", kind="link", table=interfaces.LOCAL_TABLE)
        interfaces.add_route(f"{ip4}/32", "door", kind="link")
        namespaces.enter(machine, namespaces.NEW_NETWORK)
        interfaces.bring_up("lo")
        interfaces.bring_up("eth0", ip6, ip4)
        for porch, bits, beyond in (
            (_PORCH_IP6, 128, PRIVATE_NETWORK),
            (_PORCH_IP4, 32, OUTSIDE_NETWORK),
        ):
            interfaces.add_route(f"{porch}/{bits}", "eth0", kind="link")
            interfaces.add_route(beyond, "eth0", kind="gateway", gateway=porch)
    finally:
        os.close(machine)


def _hosts_from_files_and_dns() -> str:
    """Return this system's nsswitch.conf with nothing but files and DNS for names of hosts."""
    try:
        text = Path("/etc/nsswitch.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "hosts: files dns\n"
    kept = (line for line in text.splitlines() if not line.lstrip().startswith("hosts:"))
    return "\n".join([*kept, "hosts: files dns", ""])


def _write_files(folder: Path, name: str, ip6: str, ip4: str) -> dict[Path, Path]:
    """Write what the host's /etc holds of its own; return what to show where."""
    texts = {
        "hosts": "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        f"{ip4} fly-global-services\n"
        f"{ip6} fly-local-6pn {name}\n",
        "resolv.conf": f"nameserver {RESOLVER_ADDRESS}\noptions timeout:2 attempts:2\n",
        "nsswitch.conf": _hosts_from_files_and_dns(),
    }
    shown: dict[Path, Path] = {}
    for file, text in texts.items():
        source = folder / file
        source.write_text(text, encoding="utf-8")
        target = Path("/etc", file)
        if target.exists():  # resolv.conf may be a link: what it leads to is covered
            shown[target.resolve()] = source
    return shown
