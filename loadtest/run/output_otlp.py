"""Sends the numbers of a run over OTLP, by OpenTelemetry's own exporter."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from loadtest.errors import RecordsError
from loadtest.run.output_series import TIMEOUT_S, OutputSeries, Remote
from loadtest.text import one_line
from loadtest.versions import versions_of

PATH: Final = "/v1/metrics"


def obstacle() -> str:
    """Return what is missing here, and what to do; empty if nothing is."""
    if importlib.util.find_spec("opentelemetry") is None:
        package = "opentelemetry-exporter-otlp-proto-http"
        return f"OpenTelemetry's SDK is not installed: pip install {package}"
    return ""


def send(target: Remote, series: Sequence[OutputSeries]) -> None:
    """
    Send series as gauges, once; they are stamped with the moment of sending.

    Args:
        target: Where to; ``OTEL_EXPORTER_OTLP_HEADERS`` adds headers, as everywhere.
        series: What to send.

    Raises:
        RecordsError: They were not taken; says by whom and why.
    """
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
    from opentelemetry.sdk.resources import Resource

    version = versions_of(["loadtest"])["loadtest"]
    reader = InMemoryMetricReader()
    resource = Resource.create({"service.name": "loadtest", "service.version": version})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    meter = provider.get_meter("loadtest", version)
    gauges = {one.name: meter.create_gauge(one.name, unit=one.unit) for one in series}
    for one in series:
        gauges[one.name].set(one.value, dict(one.labels))
    data = reader.get_metrics_data()
    provider.shutdown()
    exporter = OTLPMetricExporter(
        endpoint=target.url, headers=dict(target.headers) or None, timeout=TIMEOUT_S
    )
    with _heard() as said:
        taken = data is not None and exporter.export(data) is MetricExportResult.SUCCESS
        exporter.shutdown()
    if not taken:
        raise RecordsError(f"{target.url}: {said[-1] if said else 'not taken'}")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the exporter logs, which is how it says why something was not taken."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(one_line(record.getMessage())[:300])

    logger, listener = logging.getLogger("opentelemetry"), Listener()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = before
