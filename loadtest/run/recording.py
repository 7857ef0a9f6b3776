"""Brings what the coordinator has into the run folder while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loadtest.errors import RecordsError
from loadtest.records.whole import whole_file
from loadtest.run.coordinator import CoordinatorClient


@dataclass(slots=True)
class PartStore:
    """
    Copies finished record parts to disk as they appear, so that a lost coordinator loses little.

    Args:
        coordinator: Where the parts come from.
        run_id: The run.
        folder: Folder for the parts; made when needed.
    """

    coordinator: CoordinatorClient
    run_id: str
    folder: Path
    names: list[str] = field(default_factory=list)

    def fetch_new(self) -> int:
        """
        Copy the parts that are not here yet; return how many there are now.

        Raises:
            EngineError: The coordinator is gone.
            RecordsError: A part cannot be written, such as on a full disk.
        """
        for part in self.coordinator.parts(self.run_id):
            name = part.name
            if name in self.names:
                continue
            if Path(name).name != name or not name.endswith(".parquet"):
                continue  # a name with a path in it is not ours to write
            self._write(name, self.coordinator.part(self.run_id, name))
            self.names.append(name)
        return len(self.names)

    def _write(self, name: str, data: bytes) -> None:
        """Write a part whole or not at all."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / name) as file:
                file.write(data)
        except OSError as error:
            raise RecordsError(
                f"{self.folder / name}: cannot be written: {error.strerror}"
            ) from error
