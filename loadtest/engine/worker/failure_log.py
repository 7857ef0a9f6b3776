"""Counts what failures say, a bounded number of different sentences for each place."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections import Counter
from pathlib import Path
from typing import Final

from loadtest.records.failures import MAX_SENTENCE, FailureExample
from loadtest.records.layout import shortened

MAX_HELD: Final = 400
"""Different sentences that are told apart; a target that says another each time fills no memory."""
MAX_TOLD: Final = 40

_OURS: Final = Path(__file__).resolve().parents[2]
_INSTALLED: Final = tuple(
    str(Path(path).resolve())
    for key, path in sysconfig.get_paths().items()
    if key in ("stdlib", "platstdlib", "purelib", "platlib")
)


class FailureLog:
    """
    Counts sentences by kind, deployment, scenario and request name.

    Args:
        deployments: Names of the arms, by code.
        scenarios: Names of the scenarios, by code.
    """

    def __init__(self, deployments: tuple[str, ...], scenarios: tuple[str, ...]) -> None:
        self._deployments = deployments
        self._scenarios = scenarios
        self._heard: Counter[tuple[str, int, int, str, str]] = Counter()

    def note(self, kind: str, deployment: int, scenario: int, name: str, sentence: str) -> None:
        """Count a sentence; beyond the limit only those already known."""
        key = (
            kind,
            deployment,
            scenario,
            shortened(_sendable(name)),
            _sendable(sentence)[:MAX_SENTENCE],
        )
        if key in self._heard or len(self._heard) < MAX_HELD:
            self._heard[key] += 1

    def examples(self) -> list[FailureExample]:
        """Return the most frequent sentence of every kind and place first, then the others."""
        first: set[tuple[str, int, int, str]] = set()
        ranked: tuple[list[FailureExample], list[FailureExample]] = ([], [])
        for (kind, arm, scenario, name, sentence), count in self._heard.most_common():
            place = (kind, arm, scenario, name)
            ranked[place in first].append(
                FailureExample(
                    kind, self._deployments[arm], self._scenarios[scenario], name, sentence, count
                )
            )
            first.add(place)
        return [*ranked[0], *ranked[1]][:MAX_TOLD]


def sentence_of(error: BaseException) -> str:
    """Return an exception with the line of the scenario it came from: ``KeyError in x.py:12``."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    where = f" in {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    try:
        said = str(error)
    except Exception:  # a __str__ of the scenario's own may do anything
        said = ""
    return f"{type(error).__name__}{where}{f': {said}' if said else ''}"


def _sendable(text: str) -> str:
    """Return a text that UTF-8 can hold: a scenario may say anything."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def _is_users(filename: str) -> bool:
    path = Path(filename)
    if filename.startswith("<") or _OURS in path.parents:
        return False
    return not str(path).startswith((*_INSTALLED, sys.base_prefix + "/lib"))
