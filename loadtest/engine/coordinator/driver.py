"""Whether anybody still drives the coordinator: a run that nobody follows is a run to end."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.units import NS_PER_S


class DriverWatch:
    """
    Notes when the driver was heard.

    Args:
        monotonic_ns: Where time is read.
        silent_s: Seconds of silence after which there is no driver; 0 waits for ever.
        first_s: The same before it was heard the first time: it may be busy deploying.
        most_s: Seconds after which a run is over, whoever asks; 0 is no limit.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int],
        silent_s: float = 0.0,
        first_s: float = 0.0,
        most_s: float = 0.0,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._began_ns = self._heard_ns = monotonic_ns()
        self._most_s = most_s
        self._silent_s = silent_s
        self._patience_s = max(first_s, silent_s)

    def heard(self) -> None:
        """Note that the driver has asked something."""
        self._heard_ns = self._monotonic_ns()
        self._patience_s = self._silent_s

    @property
    def gone(self) -> bool:
        """Whether the driver has been silent for too long, or has had all of its time."""
        silence_s = (self._monotonic_ns() - self._heard_ns) / NS_PER_S
        return self._spent or (self._silent_s > 0 and silence_s > self._patience_s)

    @property
    def sentence(self) -> str:
        """What is said of a driver that is gone."""
        if self._spent:
            return f"{self._most_s:g} s are all that a run may take: ending the run"
        return f"nobody has asked for {self._patience_s:g} s: ending the run"

    @property
    def _spent(self) -> bool:
        lasted_s = (self._monotonic_ns() - self._began_ns) / NS_PER_S
        return 0 < self._most_s < lasted_s
