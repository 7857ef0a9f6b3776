"""
Tells whether a scenario can be played: ``python -m loadtest.engine.worker.look``, before any load.

Reads a path and settings from standard input and writes an object to standard output, as JSON: with
``error`` where it cannot.  Importing Locust patches sockets, so the command line has this done
elsewhere.
"""

from __future__ import annotations

import json
import os
import sys

from loadtest.engine.worker.scenario import load_scenario
from loadtest.errors import LoadtestError


def main() -> int:
    """Look, tell, end; what the scenario itself prints goes to standard error."""
    told = os.dup(1)
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    answer = {}
    try:
        load_scenario(asked["path"], insecure=asked["settings"]["insecure"])
    except LoadtestError as error:
        answer = {"error": str(error)}
    with os.fdopen(told, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a scenario may have started threads that would keep the process
