"""Scenarios that a plan chooses are those that its file has: told before anything is deployed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from loadtest.errors import PlanError
from loadtest.plan.resolve import load_plan
from loadtest.run.looking import Look, refuse_unknown_scenarios, scenario_looked_at


class Looked:
    def answer(self) -> dict[str, Any]:
        return {"scenarios": ["recipes", "search"]}


def test_a_scenario_that_the_file_has_not_is_told_once_with_those_it_has() -> None:
    look = cast("Look", Looked())
    refuse_unknown_scenarios(load_plan(), look)
    refuse_unknown_scenarios(load_plan(flags={"scenarios": ["search"]}), look)
    with pytest.raises(PlanError) as caught:
        refuse_unknown_scenarios(load_plan(flags={"scenarios": ["search", "reciepes"]}), look)
    assert caught.value.faults == (
        "scenarios: scenarios/recipes.py has no scenario 'reciepes'; it has recipes, search",
    )


def test_what_comes_with_us_is_looked_at_only_where_some_of_it_is_chosen() -> None:
    with scenario_looked_at(load_plan(), {}) as look:
        assert look is None
    with scenario_looked_at(load_plan(flags={"scenarios": ["recipes"]}), {}) as look:
        assert look is not None
