"""What a run tells while it goes on; the command line decides how that looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class Progress(Protocol):
    """Receiver of a run's news."""

    def step(self, text: str) -> None:
        """Take the sentence of a step that begins."""
        ...

    def done(self, text: str) -> None:
        """Take the sentence of a step that ended well."""
        ...

    def warn(self, text: str) -> None:
        """Take a sentence that a person should read and that stops nothing."""
        ...

    def load(self, status: dict[str, Any]) -> None:
        """Take the coordinator's status (state, elapsed_s, total_s, rows_merged, cells)."""
        ...


@dataclass(slots=True)
class Silent:
    """Keeps the sentences and says nothing; for scripts and tests."""

    sentences: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        """Keep the sentence."""
        self.sentences.append(text)

    done = step
    warn = step

    def load(self, status: dict[str, Any]) -> None:
        """Drop the status."""
