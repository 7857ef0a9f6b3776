"""The numbers of a run as systems that keep numbers take them in, read by their own libraries."""

from __future__ import annotations

import base64
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError, RecordsError
from loadtest.run import output_otlp, output_prometheus
from loadtest.run.output_series import OutputSeries, Remote, remote_of, series_of
from loadtest.run.outputs import read_outputs

cramjam = pytest.importorskip("cramjam", reason="of requirements/dev.lock")
pytest.importorskip("opentelemetry", reason="of requirements/dev.lock")

TIMES = {"p50": 76.5, "p50_low": 70.0, "p50_high": 80.0, "p75": None, "p95": None, "n": 9}
RESULT: dict[str, Any] = {
    "decision": "fail",
    "run": {"plan": "shop", "world": "embedded"},
    "cells": [
        {
            "region": "cdg",
            "deployment": "multi",
            "scenario": "pages",
            "valid": True,
            "n": 180,
            "errors": 2,
            "dropped": 1,
            "rate_per_s": 6.0,
            "ttfb_ms": TIMES,
            "ttfb_cold_ms": {"p50": None},
            "response_from_schedule_ms": {"p50": 90.0, "p95": "failed"},
        }
    ],
}
CELL = {"plan": "shop", "world": "embedded", "region": "cdg", "deployment": "multi"}
CELL["scenario"] = "pages"
ENDED_NS = 1_790_000_000_123_456_789


@dataclass
class Receiver:
    """Takes what is posted to it."""

    status: int = 200
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.heard.append((self.path, headers, body))
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(b"out of order sample\n")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


def write_request_type() -> Any:
    """Return the message of remote write, from its definition."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="prometheus")
    kinds = {"string": 9, "double": 1, "int64": 3}
    messages = {
        "Label": [("name", 1, "string", 1), ("value", 2, "string", 1)],
        "Sample": [("value", 1, "double", 1), ("timestamp", 2, "int64", 1)],
        "TimeSeries": [("labels", 1, "Label", 3), ("samples", 2, "Sample", 3)],
        "WriteRequest": [("timeseries", 1, "TimeSeries", 3)],
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for word, number, kind, label in fields:
            one = message.field.add(name=word, number=number, label=label)
            if kind in kinds:
                one.type = kinds[kind]
            else:
                one.type, one.type_name = 11, f".prometheus.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


def decoded(body: bytes) -> dict[tuple[tuple[str, str], ...], tuple[float, int]]:
    """Return labels -> value and time of a remote-write request as Prometheus reads it."""
    message = write_request_type()()
    message.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    found = {}
    for one in message.timeseries:
        labels = tuple((label.name, label.value) for label in one.labels)
        assert labels == tuple(sorted(labels))
        (sample,) = one.samples
        found[labels] = (sample.value, sample.timestamp)
    return found


def labelled(name: str, **labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"__name__": name, **labels}.items()))


def test_a_run_becomes_series_and_what_the_sample_does_not_carry_none() -> None:
    found = {(s.name, s.labels.get("quantile", s.labels.get("decision", ""))): s.value
             for s in series_of(RESULT)}  # fmt: skip
    decisions = {("loadtest_run_decision", d): float(d == "fail")
                 for d in ("pass", "fail", "inconclusive", "invalid", "none")}  # fmt: skip
    assert found == {
        ("loadtest_run_ttfb_seconds", "0.5"): 0.0765,
        ("loadtest_run_response_from_schedule_seconds", "0.5"): 0.09,
        ("loadtest_run_requests", ""): 180.0,
        ("loadtest_run_errors", ""): 2.0,
        ("loadtest_run_dropped", ""): 1.0,
        ("loadtest_run_rate_per_second", ""): 6.0,
        ("loadtest_run_valid", ""): 1.0,
        **decisions,
    }


@pytest.mark.contract
def test_remote_write_is_read_back(receiver: Receiver) -> None:
    target = remote_of(receiver.url.replace("//", "//me:w%40rd@"), output_prometheus.PATH)
    output_prometheus.send(target, series_of(RESULT), ENDED_NS)
    ((path, headers, body),) = receiver.heard
    assert path == "/api/v1/write"
    assert headers["content-encoding"] == "snappy"
    assert headers["x-prometheus-remote-write-version"] == "0.1.0"
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:w@rd"
    found = decoded(body)
    key = labelled("loadtest_run_ttfb_seconds", **CELL, quantile="0.5")
    assert found[key] == (0.0765, ENDED_NS // 1_000_000)
    assert len(found) == len(series_of(RESULT))


@given(st.binary(max_size=300_000))
def test_any_content_is_framed_so_that_snappy_reads_it(content: bytes) -> None:
    assert bytes(cramjam.snappy.decompress_raw(output_prometheus.snappy_framed(content))) == content


@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.floats(allow_nan=False)),
        max_size=5,
        unique_by=lambda t: t[0],
    ),
    st.integers(0, 2**62),
)
def test_any_label_and_value_is_read_back(pairs: list[tuple[str, float]], wall_ms: int) -> None:
    series = [OutputSeries("m", "1", {"page": text}, value) for text, value in pairs]
    body = output_prometheus.write_request(series, wall_ms)
    assert decoded(output_prometheus.snappy_framed(body)) == {
        labelled("m", page=text): (value, wall_ms) for text, value in pairs
    }


@pytest.mark.contract
def test_otlp_is_read_back(receiver: Receiver) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    output_otlp.send(remote_of(receiver.url, output_otlp.PATH), series_of(RESULT))
    ((path, _, body),) = receiver.heard
    assert path == "/v1/metrics"
    message = ExportMetricsServiceRequest()
    message.ParseFromString(body)
    (resource,) = message.resource_metrics
    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert names["service.name"] == "loadtest"
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert metrics["loadtest_run_ttfb_seconds"].unit == "s"
    (point,) = metrics["loadtest_run_ttfb_seconds"].gauge.data_points
    labels = {pair.key: pair.value.string_value for pair in point.attributes}
    assert (labels, point.as_double) == ({**CELL, "quantile": "0.5"}, 0.0765)
    assert len(metrics["loadtest_run_decision"].gauge.data_points) == 5


@pytest.mark.contract
@pytest.mark.parametrize("form", ["prometheus-rw", "otlp"])
def test_what_is_not_taken_is_told_with_the_reason(receiver: Receiver, form: str) -> None:
    receiver.status = 400
    target, series = Remote(f"{receiver.url}/x"), series_of(RESULT)
    sends = {
        "prometheus-rw": lambda: output_prometheus.send(target, series, ENDED_NS),
        "otlp": lambda: output_otlp.send(target, series),
    }
    with pytest.raises(RecordsError, match=f"^{receiver.url}/x: .*400"):
        sends[form]()


def test_nobody_there_is_told() -> None:
    with pytest.raises(RecordsError, match="refused"):
        output_prometheus.send(Remote("http://127.0.0.1:1/w"), series_of(RESULT), ENDED_NS)


def test_a_place_is_a_url_of_its_form() -> None:
    found = read_outputs(["otlp=http://me:secret@h:4318", "prometheus-rw=https://h/push"])
    assert [output.target for output in found] == [
        Remote("http://h:4318/v1/metrics", {"authorization": "Basic bWU6c2VjcmV0"}),
        Remote("https://h/push"),
    ]
    assert "secret" not in repr(found)
    with pytest.raises(PlanError, match=r"--output otlp: 'h:4318' is not http://HOST"):
        read_outputs(["otlp=h:4318"])
    with pytest.raises(PlanError, match="nor FORM=URL with FORM prometheus-rw, otlp"):
        read_outputs(["xml=x"])


def test_what_is_no_file_is_told_before_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(PlanError, match="is a device, a pipe or a socket"):
            read_outputs([f"json={place}"])


def test_a_missing_extra_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_otlp, "obstacle", lambda: "not here: pip install it")
    with pytest.raises(PlanError, match=r"--output otlp: not here: pip install"):
        read_outputs(["otlp=http://h"])
