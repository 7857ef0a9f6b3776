"""Client of the coordinator's HTTP API: the only way a run is started, in every world."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from loadtest.errors import EngineError, RecordsError, WorldError
from loadtest.frozen import read
from loadtest.plan.order import RunOrder
from loadtest.records.facts import EngineFacts
from loadtest.records.load_status import CoordinatorStatus, LoadStatus, RecordPart, RecordParts

T = TypeVar("T")

POLL_S = 0.25
DRAINING_POLL_S = 0.05
PATIENCE_S = 15.0
"""How long the coordinator may be unreachable before the run is given up."""

FIRST_ANSWER_S = 300.0
"""How long a fresh name on Fly may take until it resolves and has its certificate."""

FINAL_STATES = frozenset({"done", "failed", "stopped"})


class CoordinatorClient:
    """
    Drives one coordinator.

    Args:
        url: Base URL of its API.
        token: Bearer token that it was started with.
        on_silence: Called whenever it does not answer; raises if there is no use in waiting.
        transport: For tests; None talks to the network.
        ca_file: Authorities that vouch for it; empty trusts those that the system trusts.

    Raises:
        EngineError: The file holds no certificate.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        on_silence: Callable[[], object] = bool,
        transport: httpx.BaseTransport | None = None,
        ca_file: str = "",
    ) -> None:
        self.url = url
        self._on_silence = on_silence
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30.0, connect=5.0),
            transport=transport,
            verify=_trust(ca_file),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def wait_until_there(self, deadline_s: float, app: str) -> None:
        """
        Wait for the first answer at a name that is new: addresses, DNS and certificate take time.

        Args:
            deadline_s: Seconds to wait.
            app: Name of its app, for the sentence.

        Raises:
            EngineError: There was none; says how far it came.
        """
        end = time.monotonic() + deadline_s
        while True:
            try:
                response = self._http.get("/healthz")
                if response.is_success:
                    return
                reason = f"HTTP {response.status_code}: the edge has no machine to send it to"
            except httpx.TransportError as error:
                reason = _how_far(str(error) or type(error).__name__, app)
            if time.monotonic() > end:
                raise EngineError(
                    f"coordinator at {self.url}: no answer within {deadline_s:g} s; {reason}"
                )
            time.sleep(POLL_S)

    def present(self) -> CoordinatorStatus:
        """Return who is there."""
        return self._told(CoordinatorStatus, "/v1/status")

    def wait_for_workers(self, regions: Sequence[str], each: int, deadline_s: float) -> None:
        """
        Wait until every region has so many workers.

        Raises:
            EngineError: One has not after ``deadline_s`` seconds; says which, and what is there.
        """
        end = time.monotonic() + deadline_s
        while True:
            there = self.present()
            have = Counter(worker.region for worker in there.workers)
            short = [f"{r} ({have[r]} of {each})" for r in regions if have[r] < each]
            if not short:
                return
            if time.monotonic() > end:
                refused = "; ".join(f"{name} {why}" for name, why in there.refused.items())
                raise EngineError(
                    f"workers did not join within {deadline_s:g} s: {', '.join(short)}; present "
                    f"are {', '.join(sorted(have)) or 'none'}; "
                    + (refused or "look at the logs of the missing machines")
                )
            time.sleep(POLL_S / 5)

    def submit(self, order: RunOrder) -> None:
        """
        Start one segment.

        Raises:
            EngineError: The coordinator refuses; carries its sentence.
        """
        self._json("POST", "/v1/runs", json=order.to_json())

    def status(self, run_id: str) -> LoadStatus:
        """Return the state, progress and cells of a run."""
        return self._told(LoadStatus, f"/v1/runs/{run_id}")

    def stop(self, run_id: str) -> None:
        """End the load now; what was measured is drained."""
        self._json("POST", f"/v1/runs/{run_id}/stop")

    def engine(self, run_id: str) -> EngineFacts:
        """Return the content of engine.json."""
        return self._told(EngineFacts, f"/v1/runs/{run_id}/engine")

    def metrics(self) -> bytes:
        """Return the metrics of the latest run, as Prometheus reads them."""
        return self._request("GET", "/metrics").content

    def parts(self, run_id: str) -> tuple[RecordPart, ...]:
        """Return the finished record parts so far."""
        return self._told(RecordParts, f"/v1/runs/{run_id}/parts").parts

    def part(self, run_id: str, name: str) -> bytes:
        """Return one part, a Parquet file."""
        return self._request("GET", f"/v1/runs/{run_id}/parts/{name}").content

    def follow(self, run_id: str, segment: int, tick: Callable[[LoadStatus], None]) -> LoadStatus:
        """
        Poll until a segment has reached a final state; call ``tick`` with each status.

        Raises:
            EngineError: The coordinator is gone for longer than PATIENCE_S.
        """
        while True:
            status = self.status(run_id)
            tick(status)
            if status.segment == segment and status.state in FINAL_STATES:
                return status
            time.sleep(DRAINING_POLL_S if status.state == "draining" else POLL_S)

    def _told(self, kind: type[T], path: str) -> T:
        """Return what the coordinator answers, as its type."""
        try:
            return read(kind, self._json("GET", path), path)
        except RecordsError as error:
            raise EngineError(
                f"the coordinator is of another version: {error}; use an image of this version"
            ) from error

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, object]:
        response = self._request(method, path, **arguments)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise EngineError(f"{self.url} is no coordinator: {method} {path} gave no JSON object")
        return answer

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; repeat GETs while the coordinator cannot be reached, within patience."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                response = self._http.request(method, path, **arguments)
                if response.status_code not in (502, 503) or method != "GET":
                    break
                reason = f"HTTP {response.status_code}"
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                if "CERTIFICATE_VERIFY_FAILED" in reason:  # waiting does not mend that
                    raise EngineError(_mistrust(self.url, reason)) from error
                if method != "GET":
                    raise EngineError(f"coordinator at {self.url}: {reason}") from error
            if time.monotonic() > end:
                raise EngineError(
                    f"coordinator at {self.url} has not answered for {PATIENCE_S:g} s ({reason}); "
                    "its machine may have died: look at its log"
                )
            self._on_silence()
            time.sleep(POLL_S)
        if response.is_success:
            return response
        # It never forgets the latest run, so it is another process that answers.
        restarted = ""
        if response.status_code == 404:
            restarted = "; it was started anew since, or somebody else's run took the place of this"
        raise EngineError(f"coordinator: {method} {path}: {_sentence(response)}{restarted}")


@contextmanager
def connect(
    url: str,
    token: str,
    on_silence: Callable[[], object] = bool,
    *,
    beat_s: float = 0.0,
    ca_file: str = "",
) -> Iterator[CoordinatorClient]:
    """
    Give a client and close it afterwards.

    Args:
        url: As for `CoordinatorClient`.
        token: As there.
        on_silence: As there.
        beat_s: Let the coordinator hear of us this often, whatever else goes on here; 0 does not.
        ca_file: As for `CoordinatorClient`.
    """
    coordinator = CoordinatorClient(url, token, on_silence=on_silence, ca_file=ca_file)
    try:
        with heard_by(lambda: url, token, beat_s):
            yield coordinator
    finally:
        coordinator.close()


@contextmanager
def heard_by(find_url: Callable[[], str], token: str, every_s: float) -> Iterator[None]:
    """
    Let a coordinator hear of us meanwhile, as soon as there is one.

    Args:
        find_url: Returns its base URL; raises WorldError as long as nobody knows it.
        token: As for `CoordinatorClient`.
        every_s: How often; 0 does nothing.
    """
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(find_url, token, every_s, over), daemon=True)
    if every_s:
        beat.start()
    try:
        yield
    finally:
        over.set()
        if every_s:
            beat.join()


def _beat(find_url: Callable[[], str], token: str, every_s: float, over: threading.Event) -> None:
    """Ask for the status again and again; judging a segment takes longer than a silence may."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(headers=headers, timeout=every_s, trust_env=False) as client:
        while not over.wait(every_s):
            with contextlib.suppress(httpx.HTTPError, WorldError):
                client.get(f"{find_url()}/v1/status")


def _how_far(error: str, app: str) -> str:
    """Return what a failure to connect says about a fresh name."""
    text = error.lower()
    if any(word in text for word in ("name or service", "nodename", "no address", "resolution")):
        return f"its name does not resolve: has the app addresses? (fly ips list -a {app})"
    if "certificate" in text or "ssl" in text:
        return f"its certificate is not there yet (fly certs list -a {app}): {error}"
    return f"its machine may have died, look at its log (fly logs -a {app}): {error}"


def _trust(ca_file: str) -> ssl.SSLContext | bool:
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else True
    except OSError as error:
        reason = error.strerror or error
        raise EngineError(
            f"coordinator: {ca_file} holds no certificate in PEM: {reason}"
        ) from error


def _mistrust(url: str, reason: str) -> str:
    """Return what to do about a certificate that is not trusted."""
    why = reason.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or reason
    return (
        f"coordinator at {url}: its certificate is not trusted ({why}), so the token was not sent; "
        "name the PEM file of the authority that signed it, LOADTEST_COORDINATOR_CA=FILE, or give "
        "the coordinator a certificate for the name that it is called by"
    )


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
