"""
Tells whether a scenario can be played: ``python -m loadtest.engine.worker.look``, before any load.

Reads a path and settings from standard input and writes an object to standard output, as JSON: with
``error`` where it cannot.  Importing Locust patches sockets, so the command line has this done
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.engine.locustfile.telling import tell
from loadtest.engine.worker.scenario import load_scenario


def look(path: str, settings: Mapping[str, object]) -> dict[str, object]:
    """
    Return the names of the scenarios that the file has.

    Raises:
        LoadtestError: The scenario cannot be played.
    """
    classes = load_scenario(path, insecure=bool(settings["insecure"]))
    return {"scenarios": [user_class.scenario_name() for user_class in classes]}


if __name__ == "__main__":
    tell(look)
