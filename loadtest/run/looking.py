"""Has a person's Python file imported in a process of its own: importing Locust patches sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from loadtest.assets import comes_with_us, find_asset
from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.text import one_line

LOOK_S: Final = 60.0
"""How long a file may take to import."""

LOCUSTFILE: Final = "loadtest.engine.locustfile.look"
SCENARIO: Final = "loadtest.engine.worker.look"


class Look:
    """
    A file that is looked at while we go on; ends with the ``with`` block.

    Args:
        module: Which program looks: it reads a JSON object and writes one, with ``error`` or not.
        path: The file, as the person wrote it.
        settings: What the program has to know besides.
        env: What the file finds in its environment besides our own.
    """

    def __init__(
        self,
        module: str,
        path: str,
        settings: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self._question = json.dumps({"path": path, "settings": dict(settings)}).encode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """
        Return what the program says, once it does.

        Raises:
            PlanError: The file cannot be imported or played; one sentence.
        """
        try:
            told, said = self._process.communicate(self._question, timeout=LOOK_S)
        except subprocess.TimeoutExpired:
            raise PlanError(
                f"{self._path}: importing it has not ended after {LOOK_S:g} s; does it ask for "
                "something, or wait, outside of a task?"
            ) from None
        try:
            answer = json.loads(told)
        except ValueError:
            last = _last(said.decode(errors="replace").splitlines())
            raise PlanError(
                f"{self._path}: importing it ended the process "
                f"(code {self._process.returncode}){last}"
            ) from None
        if "error" in answer:
            raise PlanError("\n".join(map(one_line, str(answer["error"]).split("\n"))))
        return dict(answer)


@contextmanager
def scenario_looked_at(plan: Plan, env: Mapping[str, str]) -> Iterator[Look | None]:
    """
    Have a plan's scenario imported beside what else has to be done before it is needed.

    Gives None where nothing can be found out: what comes with us is known unless some of it is
    chosen, a locustfile has been looked at, and machines elsewhere may have packages that this one
    has not.

    Args:
        plan: Resolved plan.
        env: What the scenario finds in its environment besides our own.
    """
    path = find_asset(plan.scenario)
    known = comes_with_us(path) and not any(one.scenarios for one in plan.deployments)
    if plan.locustfile is not None or plan.world != "embedded" or known:
        yield None
        return
    with Look(SCENARIO, plan.scenario, {"insecure": plan.client.insecure}, env) as look:
        yield look


def refuse_unknown_scenarios(plan: Plan, look: Look) -> None:
    """
    Refuse a plan that plays scenarios which its file has not.

    Args:
        plan: Resolved plan.
        look: At its scenario file.

    Raises:
        PlanError: The file cannot be played, or a deployment plays what it has not.
    """
    there = [str(name) for name in look.answer()["scenarios"]]
    missing = dict.fromkeys(
        name for one in plan.deployments for name in one.scenarios if name not in there
    )
    if missing:
        raise PlanError(
            *(
                f"scenarios: {plan.scenario} has no scenario {name!r}; it has {', '.join(there)}"
                for name in missing
            )
        )


def _last(lines: Sequence[str]) -> str:
    said = [one_line(line) for line in lines if line.strip()]
    return f"; it said: {said[-1][:200]}" if said else ""
