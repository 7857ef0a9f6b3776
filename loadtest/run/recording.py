"""Brings what the coordinator has into the run folder while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loadtest.run.coordinator import Coordinator


@dataclass(slots=True)
class PartStore:
    """
    Copies finished record parts to disk as they appear, so that a lost coordinator loses little.

    Args:
        coordinator: Where the parts come from.
        run_id: The run.
        folder: Folder for the parts; made when needed.
    """

    coordinator: Coordinator
    run_id: str
    folder: Path
    names: list[str] = field(default_factory=list)

    def fetch_new(self) -> int:
        """Copy the parts that are not here yet; return how many there are now."""
        for part in self.coordinator.parts(self.run_id):
            name = str(part["name"])
            if name in self.names:
                continue
            if Path(name).name != name or not name.endswith(".parquet"):
                continue  # a name with a path in it is not ours to write
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / f".{name}"
            temporary.write_bytes(self.coordinator.part(self.run_id, name))
            temporary.replace(self.folder / name)
            self.names.append(name)
        return len(self.names)

    def paths(self) -> list[Path]:
        """Return the parts on disk in the order in which they were finished."""
        return [self.folder / name for name in self.names]
