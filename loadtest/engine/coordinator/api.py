"""The coordinator's HTTP API: a WSGI app behind a token, served by gevent."""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.metrics import CONTENT_TYPE, metrics_text
from loadtest.engine.coordinator.run_report import engine_report, progress
from loadtest.errors import PlanError
from loadtest.frozen import to_json
from loadtest.plan.order import RunOrder, parse_order
from loadtest.records.load_status import (
    CoordinatorStatus,
    PresentWorker,
    RecordPart,
    RecordParts,
)

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 << 20

_REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    500: "Internal Server Error",
}

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Answer = tuple[int, dict[str, Any] | bytes | str]
"""Status, and JSON, a part or the metrics."""


class CoordinatorApiError(Exception):
    """An answer that is not the one asked for: HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class CoordinatorView(Protocol):
    """What the API needs of the coordinator."""

    @property
    def run(self) -> SegmentConductor | None:
        """The latest run; None before the first."""
        ...

    def workers(self) -> tuple[PresentWorker, ...]:
        """Return the workers that are present."""
        ...

    @property
    def version(self) -> str:
        """Version of loadtest that the coordinator is and its workers have to be."""
        ...

    def refused(self) -> Mapping[str, str]:
        """Return workers that cannot take part, by name, and why."""
        ...

    def accept(self, order: RunOrder) -> SegmentConductor:
        """Start a segment; raises CoordinatorApiError."""
        ...


class CoordinatorApi:
    """
    WSGI application.

    Args:
        view: The coordinator.
        token: What ``Authorization: Bearer`` must carry; compared in constant time.
        heard: Called for every request that carries it, but for those of metrics: who collects them
            does not drive.
    """

    def __init__(
        self, view: CoordinatorView, token: str, heard: Callable[[], None] = lambda: None
    ) -> None:
        self._view = view
        self._heard = heard
        self._expected = f"Bearer {token}".encode()
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = [
            ("GET", re.compile(r"/metrics"), self._metrics),
            ("GET", re.compile(r"/v1/status"), self._status),
            ("POST", re.compile(r"/v1/runs"), self._submit),
            ("GET", re.compile(r"/v1/runs/([^/]+)"), self._progress),
            ("POST", re.compile(r"/v1/runs/([^/]+)/stop"), self._stop),
            ("GET", re.compile(r"/v1/runs/([^/]+)/parts"), self._parts),
            ("GET", re.compile(r"/v1/runs/([^/]+)/parts/([^/]+)"), self._part),
            ("GET", re.compile(r"/v1/runs/([^/]+)/engine"), self._engine),
        ]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; a fault of ours is a 500 with a sentence, never a dead server."""
        try:
            status, content = self._answer(environ)
        except CoordinatorApiError as error:
            status, content = error.status, {"error": str(error)}
        except Exception as error:
            logger.exception("%s %s", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            status, content = 500, {"error": f"coordinator: {type(error).__name__}: {error}"}
        if isinstance(content, bytes):
            body, kind = content, "application/vnd.apache.parquet"
        elif isinstance(content, str):
            body, kind = content.encode(), CONTENT_TYPE
        else:
            body, kind = json.dumps(content).encode(), "application/json"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status} {_REASONS[status]}", headers)
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "")
        if path == "/healthz":
            return 200, {"status": "ok"}
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise CoordinatorApiError(
                401, "missing or wrong token; send Authorization: Bearer <token>"
            )
        if path != "/metrics":
            self._heard()
        matches = [(verb, m, call) for verb, p, call in self._routes if (m := p.fullmatch(path))]
        for verb, match, call in matches:
            if verb == method:
                if verb == "POST":
                    return call(environ, *match.groups())
                return call(*match.groups())
        if matches:
            raise CoordinatorApiError(
                405, f"{method} is not allowed here; allowed: {matches[0][0]}"
            )
        raise CoordinatorApiError(404, f"no such resource: {path}")

    def _metrics(self) -> Answer:
        return 200, metrics_text(self._view.run)

    def _status(self) -> Answer:
        run = self._view.run
        latest = None if run is None else progress(run)
        view = self._view
        return 200, to_json(
            CoordinatorStatus(
                version=view.version, workers=view.workers(), refused=view.refused(), run=latest
            )
        )

    def _submit(self, environ: dict[str, Any]) -> Answer:
        try:
            order = parse_order(_read_json(environ))
        except PlanError as error:
            raise CoordinatorApiError(422, str(error)) from error
        run = self._view.accept(order)
        return 201, {"run_id": run.run_id, "segment": order.segment}

    def _progress(self, run_id: str) -> Answer:
        return 200, to_json(progress(self._run(run_id)))

    def _stop(self, _environ: dict[str, Any], run_id: str) -> Answer:
        run = self._run(run_id)
        run.stop()
        return 202, {"run_id": run_id, "state": run.state}

    def _parts(self, run_id: str) -> Answer:
        run = self._run(run_id)
        parts = tuple(RecordPart(p.name) for p in run.collector.parts)
        return 200, to_json(RecordParts(parts))

    def _part(self, run_id: str, name: str) -> Answer:
        for part in self._run(run_id).collector.parts:
            if part.name == name:
                content: bytes = part.read()
                return 200, content
        raise CoordinatorApiError(404, f"run {run_id} has no part {name}")

    def _engine(self, run_id: str) -> Answer:
        return 200, to_json(engine_report(self._run(run_id)))

    def _run(self, run_id: str) -> SegmentConductor:
        run = self._view.run
        if run is None or run.run_id != run_id:
            raise CoordinatorApiError(404, f"no run {run_id} here; only the latest run is kept")
        return run


def _read_json(environ: dict[str, Any]) -> Any:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise CoordinatorApiError(413, f"body of {length} bytes; allowed are {MAX_BODY_BYTES}")
    body = environ["wsgi.input"].read(int(length))
    try:
        return json.loads(body)
    except ValueError as error:
        raise CoordinatorApiError(400, f"body is no JSON: {error}") from error
