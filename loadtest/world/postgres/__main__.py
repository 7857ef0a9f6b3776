"""``python -m loadtest.world.postgres``: a database machine, as its environment says."""

from __future__ import annotations

import logging
import os
import sys

from loadtest.errors import LoadtestError
from loadtest.world.postgres.machine import DatabaseMachine, MachineSettings


def main() -> int:
    """Serve until told to end; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    log = logging.getLogger("loadtest.database")
    try:
        return DatabaseMachine(MachineSettings.from_environ(os.environ)).run()
    except LoadtestError as error:
        log.error("%s", error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
