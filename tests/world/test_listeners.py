"""The ports that are listened on, asked of the kernel."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.hosts.listeners import ListenerTable, parse_answer


@pytest.mark.contract
@pytest.mark.skipif(sys.platform != "linux", reason="netlink and /proc are Linux's")
def test_netlink_and_proc_tell_the_same_of_a_port() -> None:
    sockets = SocketMaker()
    told = ListenerTable(sockets, "", os.getpid())
    read = ListenerTable(sockets, "", os.getpid())
    read.close()  # leaves the tables below /proc
    assert told.by_netlink
    assert not read.by_netlink
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert told.ports()[port] == read.ports()[port] == "127.0.0.1"
    assert port not in told.ports()
    told.close()
    sockets.close()


@given(st.binary(max_size=200))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    try:
        more, pairs = parse_answer(data)
    except OSError:
        return
    assert all(0 <= port < 65_536 for _, port in pairs)
    assert more in (True, False)
