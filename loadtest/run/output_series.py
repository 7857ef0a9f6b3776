"""A judged run as series of numbers, for systems that keep those: names, units, labels, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from loadtest.errors import PlanError
from loadtest.plan.credentials import basic_header, split_credentials, without_credentials
from loadtest.units import MS_PER_S

TIMEOUT_S: Final = 15.0
"""How long whoever keeps the numbers may take to take them."""

_TIMES: Final = ("ttfb", "ttfb_cold", "response_from_schedule")
_QUANTILES: Final = {"p50": "0.5", "p75": "0.75", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
_DECISIONS: Final = ("pass", "fail", "inconclusive", "invalid", "none")


@dataclass(frozen=True, slots=True)
class OutputSeries:
    """
    One number of a run.

    Args:
        name: As Prometheus names metrics, the unit at its end.
        unit: As UCUM writes it: ``s``, ``1/s``, or ``1`` for what is counted.
        labels: What it is a number of.
        value: The number.
    """

    name: str
    unit: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Remote:
    """Where series are sent: a URL without user and password, and the headers that carry those."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def remote_of(url: str, path: str) -> Remote:
    """
    Return where a URL leads.

    Args:
        url: As somebody wrote it, perhaps with a user and a password.
        path: The protocol's own, for a URL that has none.

    Raises:
        PlanError: It is no URL.
    """
    plain, credentials = split_credentials(url)
    parts = urlsplit(plain)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PlanError(f"{without_credentials(url)[:200]!r} is not http://HOST or https://HOST")
    if not parts.path.strip("/"):
        plain = parts._replace(path=path).geturl()
    user, _, password = credentials.partition(":")
    header = basic_header(unquote(user), unquote(password)) if credentials else ""
    return Remote(plain, {"authorization": header} if header else {})


def series_of(result: Mapping[str, Any]) -> tuple[OutputSeries, ...]:
    """
    Return the numbers of a run.

    A percentile that the sample does not carry has no series, nor has one that failures reach.

    Args:
        result: The object of ``loadtest.run.result``.
    """
    run = {"plan": str(result["run"]["plan"]), "world": str(result["run"]["world"])}
    found = [one for cell in result["cells"] for one in _of_cell(cell, run)]
    decided = [
        OutputSeries(
            "loadtest_run_decision",
            "1",
            {**run, "decision": decision},
            float(decision == result["decision"]),
        )
        for decision in _DECISIONS
    ]
    return (*found, *decided)


def _of_cell(cell: Mapping[str, Any], run: Mapping[str, str]) -> Iterator[OutputSeries]:
    labels = {**run, **{key: str(cell[key]) for key in ("region", "deployment", "scenario")}}
    for metric in _TIMES:
        for key, quantile in _QUANTILES.items():
            value_ms = cell[f"{metric}_ms"].get(key)
            if isinstance(value_ms, int | float):
                yield OutputSeries(
                    f"loadtest_run_{metric}_seconds",
                    "s",
                    {**labels, "quantile": quantile},
                    value_ms / MS_PER_S,
                )
    yield OutputSeries("loadtest_run_requests", "1", labels, float(cell["n"]))
    yield OutputSeries("loadtest_run_errors", "1", labels, float(cell["errors"]))
    yield OutputSeries("loadtest_run_dropped", "1", labels, float(cell["dropped"]))
    if cell["rate_per_s"] is not None:
        yield OutputSeries("loadtest_run_rate_per_second", "1/s", labels, float(cell["rate_per_s"]))
    yield OutputSeries("loadtest_run_valid", "1", labels, float(bool(cell["valid"])))
