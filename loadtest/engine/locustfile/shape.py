"""
Asks a load shape beforehand how many users there are when, so that a plan can say it.

Locust asks the shape every second while the load goes on.  Here its clock is ours: a day's ticks
take a moment, and the answer stands in the plan and in the report.
"""

from __future__ import annotations

import math
from typing import Any

from locust import LoadTestShape

from loadtest.errors import PlanError
from loadtest.plan.model import UserStep

DAY_S = 86_400
_MOST_STEPS = 5_000


def steps_of(shape: LoadTestShape) -> tuple[tuple[UserStep, ...], float]:
    """
    Return the steps of a shape and the second it ends at, infinite if not within a day.

    Raises:
        PlanError: Its ``tick`` fails, answers what Locust would not take, or changes too often.
    """
    clock = _Clock(shape)
    found: list[UserStep] = []
    for second in range(DAY_S):
        answer = clock.ask(second)
        if answer is None:
            return tuple(found), float(second)
        step = _step(shape, second, answer)
        clock.crowd(step)
        if not found or found[-1].model_copy(update={"at_s": step.at_s}) != step:
            found.append(step)
        if len(found) > _MOST_STEPS:
            return tuple(found), float(second)
    return tuple(found), math.inf


class _Clock:
    """Stands for the run in the eyes of a shape: what time it is, and how many users there are."""

    def __init__(self, shape: LoadTestShape) -> None:
        self._shape = shape
        self._now_s = self._zero_s = 0.0
        self._users = 0.0
        vars(shape).update(
            get_run_time=lambda: self._now_s - self._zero_s,
            reset_time=self._reset,
            get_current_user_count=lambda: int(self._users),
        )

    def _reset(self) -> None:
        self._zero_s = self._now_s

    def ask(self, second: int) -> Any:
        self._now_s = float(second)
        try:
            return self._shape.tick()
        except Exception as error:
            raise PlanError(
                f"{type(self._shape).__name__}.tick() at {second} s: {type(error).__name__}: "
                f"{error}; it is asked before the load, without a runner"
            ) from error

    def crowd(self, step: UserStep) -> None:
        """Let the users of a second come or go."""
        rate = step.spawn_rate or math.inf
        low, high = self._users - rate, self._users + rate
        self._users = min(max(float(step.users), low), high)


def _step(shape: LoadTestShape, second: int, answer: Any) -> UserStep:
    try:
        users, rate, *rest = answer
        classes = (rest[0] if rest else None) or ()
        return UserStep(
            at_s=second,
            users=max(0, round(users)),
            spawn_rate=float(rate),
            scenarios=tuple(cls.__name__ for cls in classes),
        )
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"{type(shape).__name__}.tick() answered {answer!r} at {second} s; want (users, "
            "spawn_rate), perhaps with a list of user classes, or None"
        ) from error
