"""Which machines may answer a request, and in which order: decisions without sockets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadtest.fly.replay import Replay, ReplayError, parse_region_list, region_matches
from loadtest.world.edge.http import Headers, find
from loadtest.world.edge.types import AppSettings, Backend, MachineResolver


class EdgeError(Exception):
    """
    The edge has to answer itself.

    Args:
        status: Status of the answer.
        code: Fly's error code, or empty.
        sentence: What went wrong.
    """

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where one hop of a request may go.

    Args:
        app: The app it is for.
        settings: How that app is treated.
        backends: Machines to try, best first.
        headers: What the chosen machine is told besides.
    """

    app: str
    settings: AppSettings
    backends: Sequence[Backend]
    headers: Headers = field(default_factory=list)


def first_route(resolver: MachineResolver, app: str, edge_region: str, headers: Headers) -> Route:
    """
    Return where a client's request goes: nearest first, as its own ``fly-*`` headers may bend.

    Raises:
        EdgeError: No such app, no machine that may take it, or a header that cannot be read.
    """
    settings = _settings(resolver, app)
    backends = resolver.candidates(app, edge_region)
    if not any(name[:4].lower() == b"fly-" for name, _ in headers):
        return Route(app, settings, _some(backends, app))
    if (forced := find(headers, b"fly-force-instance-id")) is not None:
        return Route(
            app, settings, [_instance(resolver, app, forced.decode("latin-1"), edge_region)]
        )
    if (regions := find(headers, b"fly-force-region")) is not None:
        words, anywhere = _words(regions)
        backends = _in_regions(backends, words, anywhere)
    elif (regions := find(headers, b"fly-prefer-region")) is not None:
        backends = _in_regions(backends, _words(regions)[0], True)
    added: Headers = []
    if (preferred := find(headers, b"fly-prefer-instance-id")) is not None:
        backends, added = _preferring(
            resolver, app, preferred.decode("latin-1"), edge_region, backends
        )
    return Route(app, settings, _some(backends, app), added)


def replay_route(
    resolver: MachineResolver, app: str, edge_region: str, replay: Replay, issuer: Backend
) -> Route:
    """
    Return where a replayed request goes.

    Args:
        resolver: The world's knowledge.
        app: App of the machine that asked for the replay.
        edge_region: Region of the edge.
        replay: What it asked for.
        issuer: That machine.

    Raises:
        EdgeError: No such app (PA04), or no machine that may take it.
    """
    target = replay.app or app
    settings = _settings(resolver, target)
    if replay.instance is not None:
        return Route(target, settings, [_instance(resolver, target, replay.instance, edge_region)])
    backends = resolver.candidates(target, edge_region)
    if replay.regions:
        backends = _in_regions(backends, replay.regions, replay.anywhere)
    added: Headers = []
    if replay.prefer_instance is not None:
        backends, added = _preferring(
            resolver, target, replay.prefer_instance, edge_region, backends
        )
    if replay.elsewhere:
        backends = [item for item in backends if item.machine_id != issuer.machine_id]
    wanted = f" in {', '.join(replay.regions)}" if replay.regions and not replay.anywhere else ""
    return Route(target, settings, _some(backends, target, wanted), added)


def fallback_route(
    resolver: MachineResolver, app: str, edge_region: str, replay: Replay, issuer: Backend
) -> Route:
    """Return where a request goes that is given back to the app that wanted it replayed."""
    own = resolver.backend(app, issuer.machine_id, edge_region)
    backends = [own] if own else []
    if replay.fallback == "prefer_self":
        others = resolver.candidates(app, edge_region)
        backends += [item for item in others if item.machine_id != issuer.machine_id]
    return Route(app, _settings(resolver, app), _some(backends, app))


def _settings(resolver: MachineResolver, app: str) -> AppSettings:
    settings = resolver.app_settings(app)
    if settings is None:
        raise EdgeError(502, "PA04", f"there is no app {app!r}")
    return settings


def _some(backends: Sequence[Backend], app: str, where: str = "") -> Sequence[Backend]:
    if not backends:
        raise EdgeError(503, "PR01", f"app {app!r} has no healthy machine{where}")
    return backends


def _instance(resolver: MachineResolver, app: str, machine_id: str, edge_region: str) -> Backend:
    backend = resolver.backend(app, machine_id, edge_region)
    if backend is None:
        raise EdgeError(502, "PR02", f"app {app!r} has no machine {machine_id!r} to take requests")
    return backend


def _preferring(
    resolver: MachineResolver,
    app: str,
    machine_id: str,
    edge_region: str,
    backends: Sequence[Backend],
) -> tuple[Sequence[Backend], Headers]:
    preferred = resolver.backend(app, machine_id, edge_region)
    if preferred is None:
        return backends, [(b"fly-preferred-instance-unavailable", machine_id.encode("latin-1"))]
    return [preferred, *(item for item in backends if item.machine_id != machine_id)], []


def _in_regions(
    backends: Sequence[Backend], words: Iterable[str], anywhere: bool
) -> Sequence[Backend]:
    chosen: dict[str, Backend] = {}
    for word in words:
        for item in backends:
            if region_matches(word, item.region):
                chosen.setdefault(item.machine_id, item)
    if anywhere:
        for item in backends:
            chosen.setdefault(item.machine_id, item)
    return list(chosen.values())


def _words(value: bytes) -> tuple[tuple[str, ...], bool]:
    try:
        return parse_region_list(value.decode("latin-1"))
    except ReplayError as error:
        raise EdgeError(400, "", str(error)) from None
