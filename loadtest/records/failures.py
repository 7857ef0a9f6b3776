"""
What failed, in words: a sentence of each kind of failure, counted by the worker that met it.

The records tell how many requests of a cell failed and of what kind; what the certificate, the
socket or the scenario said stands here.  Standard library only: workers import it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from loadtest.errors import RecordsError

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

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> FailureExample:
        """
        Read one.

        Raises:
            RecordsError: A key is missing, unknown or of another type.
        """
        fields = cls.__annotations__
        if not isinstance(value, dict) or value.keys() != fields.keys():
            raise RecordsError(f"failure example {value!r}: want the keys {', '.join(fields)}")
        texts = [value[key] for key in fields if key != "count"]
        if not all(isinstance(text, str) for text in texts) or type(value["count"]) is not int:
            raise RecordsError(f"failure example {value!r}: want texts, and a whole number of them")
        return cls(**value)
