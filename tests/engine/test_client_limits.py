"""What the generating machine has no more of is its own failure, never the target's."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

import pytest
from client_servers import client_of
from engine_rows import recorder, sample

from loadtest.engine.client import dial
from loadtest.kernel.descriptors import raise_descriptor_limit

OWN = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL]


class Socket:
    """A socket that cannot be made, or not be connected."""

    at_birth = 0
    at_connect = 0

    def __init__(self, *_: Any) -> None:
        if self.at_birth:
            raise OSError(self.at_birth, os.strerror(self.at_birth))

    def connect_ex(self, _: Any) -> int:
        return self.at_connect

    def setblocking(self, _: bool) -> None: ...

    def setsockopt(self, *_: Any) -> None: ...

    def close(self) -> None: ...


def kind_of(monkeypatch: pytest.MonkeyPatch, url: str = "http://127.0.0.1:9", **codes: int) -> str:
    broken = type("Broken", (Socket,), codes)
    monkeypatch.setattr(dial, "get_original", lambda *_: broken)
    monkeypatch.setattr(dial, "enable_receive_stamps", lambda _: None)
    with client_of(url) as (client, samples):
        client.get("/")
    return samples[0].error


@pytest.mark.parametrize("code", OWN, ids=errno.errorcode.get)
@pytest.mark.parametrize("moment", ["at_birth", "at_connect"])
def test_own_limits_are_told_apart(monkeypatch: pytest.MonkeyPatch, moment: str, code: int) -> None:
    fault: dict[str, Any] = {moment: code}
    assert kind_of(monkeypatch, **fault) == "generator"


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
def test_a_network_that_leads_nowhere_is_none_of_them(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert kind_of(monkeypatch, at_connect=code) == "connect"


def test_a_look_up_without_a_descriptor_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver says ``temporary failure``, whatever the reason."""

    def full(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    def fails(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(dial.AddressResolver, "addresses", fails)
    assert kind_of(monkeypatch, "http://nowhere.invalid") == "dns"
    monkeypatch.setattr(dial.os, "dup", full)
    assert kind_of(monkeypatch, "http://nowhere.invalid") == "generator"


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    for soft, hard in ((1_024, 4_096), (1_024, 1_000_000), (1_024, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, both=(soft, hard): both)
        raise_descriptor_limit()
    assert told == [(4_096, 4_096), (65_536, 1_000_000), (65_536, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (70_000, 80_000))
    raise_descriptor_limit()
    assert len(told) == 3


@pytest.mark.parametrize("name", [7, ["a"], {"a": 1}, b"GET /", 1.5])
def test_a_name_that_is_no_text_is_written_as_one(
    monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.setattr(dial, "get_original", lambda *_: type("B", (Socket,), {"at_connect": 111}))
    with client_of("http://127.0.0.1:9") as (client, samples):
        client.get("/", name=name)
    assert samples[0].name == str(name)


def test_a_name_with_half_a_letter_loses_that_half() -> None:
    made, chunks = recorder()
    for name in ("GET /\ud800", "GET /?", "GET /\ud800"):
        odd = sample(7)
        odd.name = name
        made.record(odd)
    made.flush()
    assert chunks[0]["words"]["name"] == ["GET /?"]
