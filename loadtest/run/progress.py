"""What a run tells while it goes on; the command line decides how that looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


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

    def load(self, state: str, headline: str, table: Sequence[Sequence[str]], brief: str) -> None:
        """
        Take how far the load is; called several times a second.

        Args:
            state: What the load is at, such as ``steady``.
            headline: Time, requests, when the verdict is due.
            table: Header and a row for each region; empty before there are figures.
            brief: The same on one line.
        """
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

    def load(self, state: str, headline: str, table: Sequence[Sequence[str]], brief: str) -> None:
        """Drop it."""
