"""
What failed, in words: a sentence of each kind of failure, counted by the worker that met it.

The records tell how many requests of a cell failed and of what kind; what the certificate, the
socket or the scenario said stands here.  Standard library only: workers import it.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_SENTENCE = 300
"""Characters of a sentence that are kept."""


@dataclass(frozen=True, slots=True)
class FailureExample:
    """
    One sentence about failures.

    Args:
        kind: A kind of ``records.kinds.ERROR_KINDS``.
        deployment: Name of the arm.
        scenario: Name of the scenario.
        name: Name of the request, or of the task that raised.
        sentence: What was said, such as ``certificate refused: self-signed certificate``.
        count: How often it was heard, warm-up included.
    """

    kind: str
    deployment: str
    scenario: str
    name: str
    sentence: str
    count: int
