"""
The words that records use for stages, errors and clocks.

Apart from the schema so that a worker, which carries no Parquet library, can import them.
"""

from __future__ import annotations

from typing import Final

STAGE_WARM_UP: Final = "warm-up"
STAGE_STEADY: Final = "steady"

ERROR_DROPPED: Final = "dropped"  # no user was free at the intended start
ERROR_CHECK: Final = "check"  # the scenario's own check failed
ERROR_CANCELLED: Final = "cancelled"  # the run was stopped while the request was in flight
ERROR_GENERATOR: Final = "generator"  # the machine that generates the load ran out of something
ERROR_KINDS: Final = (
    "",
    ERROR_DROPPED,
    "dns",
    "connect-refused",
    "connect-timeout",
    "connect",
    "tls",
    "send",
    "read-timeout",
    "closed-early",
    "protocol",
    "too-large",
    "status",  # 3xx, 4xx or 5xx that neither plan nor scenario expects
    ERROR_CHECK,
    ERROR_CANCELLED,
    ERROR_GENERATOR,
)

HTTP_AUTO: Final = "auto"
HTTP_1: Final = "1.1"
HTTP_2: Final = "2"

CLOCK_KERNEL: Final = "kernel"
CLOCK_USER: Final = "user"

TASK_NAME: Final = "task"
"""Name of the row of an arrival whose task raised after a request that was answered."""
UNASKED_NAME: Final = "task, before any request"
"""The same, where nothing had been asked of the target yet: the scenario's own failure."""
