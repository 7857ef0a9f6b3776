"""
Its presence puts this folder on the import path, so that tests share `synth`.

Linear algebra on one thread: the matrices are small, and threads that wait for each other on a
machine with other work take ten times as long.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
