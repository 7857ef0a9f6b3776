"""What an edge needs to know of the world around it, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadtest.fly.port_options import ReplayCache


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """
    What edges do to the headers of a machine's answers.

    Args:
        gone: Names of headers that are taken away, in lower case.
        added: Headers that are put in.
        pristine: The edge adds none of its own.
    """

    gone: frozenset[bytes] = frozenset()
    added: tuple[tuple[bytes, bytes], ...] = ()
    pristine: bool = False


@dataclass(frozen=True, slots=True)
class StaticFolder:
    """
    Files that edges serve themselves.

    Args:
        prefix: Paths below it are answered from there; without a slash at its end.
        folder: Where they lie, without links in it.
        index: File that answers for a folder; empty for none.
    """

    prefix: str
    folder: Path
    index: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """
    One machine as one edge reaches it.

    Args:
        machine_id: Id of the machine in the Machines API.
        region: Region the machine runs in.
        host: Address to dial: the loopback end of the link from the edge's region.
        port: Port to dial.
        answers: What is done to the headers of its answers; None leaves them.
        sessions: What its replays are remembered by.
        statics: Files of it that edges serve.
    """

    machine_id: str
    region: str
    host: str
    port: int
    answers: AnswerOptions | None = None
    sessions: tuple[ReplayCache, ...] = ()
    statics: tuple[StaticFolder, ...] = ()


@dataclass(frozen=True, slots=True)
class AppSettings:
    """
    How edges treat one app.

    Args:
        new_connection_share: Share of requests that open a connection to a machine, in place of
            using one that is idle.  Fly's edges keep theirs, whatever ``concurrency.type`` says a
            machine's load is counted by: the way between edges and hosts is pooled, and the
            connection to the app is local to its host (Fly's documentation, reference/fly-proxy).
        connect_timeout_s: Longest wait for a connection to a machine.
        answer_timeout_s: Longest wait for the head of an answer, counted anew at every hop.
    """

    new_connection_share: float = 0.0
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """
    Limits of every edge; the defaults follow Fly where Fly states them.

    Args:
        replay_body_bytes: Largest request body kept for a replay. Fly's pages name 1 MB and
            10 MB; the stricter one is the default.
        replay_hops: Replays that one request may take before it is answered with 502.
        upstream_idle_s: How long an idle connection to a machine is kept. Fly keeps one for about
            4 s; the embedded world keeps it longer, so that fewer are opened at low rates.
        client_idle_s: How long a client's connection may rest between two requests.
        head_timeout_s: How long a client may take to send the head of a request.
        head_bytes: Largest head of a request or an answer.
        attempts: Machines tried for one hop before giving up.
    """

    replay_body_bytes: int = 1_000_000
    replay_hops: int = 10
    upstream_idle_s: float = 60.0
    client_idle_s: float = 600.0
    head_timeout_s: float = 30.0
    head_bytes: int = 65_536
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class EdgeCounters:
    """
    What one edge did for one app since it started listening.

    Args:
        requests: Requests taken from clients.
        replays: Replays carried out.
        errors: Answers that the edge itself had to give (502, 503 and the like).
        upstream_connections: Connections opened to machines.
        served: Region of a machine -> requests sent to machines there, replays included.
    """

    requests: int = 0
    replays: int = 0
    errors: int = 0
    upstream_connections: int = 0
    served: Mapping[str, int] = field(default_factory=dict)


class MachineResolver(Protocol):
    """
    The world's knowledge of its machines, asked for every request: answers must be quick.

    Every answer is for one edge region, because a machine has another address (that of another
    link) from every region.
    """

    def app_settings(self, app: str) -> AppSettings | None:
        """Return how to treat ``app``; None when there is no such app."""
        ...

    def candidates(self, app: str, edge_region: str) -> Sequence[Backend]:
        """Return the healthy machines of ``app``, nearest to ``edge_region`` first."""
        ...

    def backend(self, app: str, machine_id: str, edge_region: str) -> Backend | None:
        """Return the machine of ``app`` with this id if it can take requests, else None."""
        ...
