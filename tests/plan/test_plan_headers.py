"""Headers of a plan: what is refused, where values come from, and that none is ever shown."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import PlanError
from loadtest.plan.headers import GIVEN, give_headers, read_headers
from loadtest.plan.order import RunOrder, Target, parse_order, with_secrets
from loadtest.plan.resolve import resolve_plan
from loadtest.plan.selection import tables_in
from loadtest.plan.urls import plan_of_urls

SECRET = "s3cret"


def plan_with(headers: Any = None, first: Any = None) -> Any:
    raw = plan_of_urls(["http://127.0.0.1:1", "http://127.0.0.1:2"])
    tables_in(raw, "deployments")[0]["headers"] = first or {}
    return resolve_plan({**raw, "headers": headers or {}})


def test_a_deployment_wins_over_the_plan_and_the_command_line_over_both() -> None:
    plan = plan_with({"X-A": "plan", "X-B": "b"}, {"x-a": "first"})
    assert give_headers(plan, {}, {})[1] == {
        "first": {"x-a": "first", "X-B": "b"},
        "second": {"X-A": "plan", "X-B": "b"},
    }
    kept, found = give_headers(plan, {"x-b": SECRET}, {})
    assert found["first"] == {"x-a": "first", "x-b": SECRET}
    assert kept.headers == {"X-A": "plan", "x-b": GIVEN}
    assert SECRET not in str(kept.to_json())


def test_a_reference_is_looked_up_late_and_stored_as_it_stands() -> None:
    plan = plan_with({"Authorization": "Bearer ${TOKEN}", "X-Sign": "$5 $${TOKEN}"})
    kept, found = give_headers(plan, {}, {"TOKEN": SECRET})
    assert found["first"] == {"Authorization": f"Bearer {SECRET}", "X-Sign": "$5 ${TOKEN}"}
    assert kept.headers["Authorization"] == "Bearer ${TOKEN}"
    for environ, told in (({}, "is not set"), ({"TOKEN": f"{SECRET}\r\nX: y"}, "a line break")):
        with pytest.raises(PlanError, match=told) as caught:
            give_headers(plan, {}, environ)
        assert len(caught.value.faults) == 1
        assert SECRET not in str(caught.value)


def test_what_was_given_to_an_earlier_run_has_to_be_given_again() -> None:
    with pytest.raises(PlanError, match="--header gave; give it"):
        give_headers(plan_with({"Authorization": GIVEN}), {}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"Authorization {SECRET}", "no colon"),
        (f"X Y: {SECRET}", "no header name"),
        (f": {SECRET}", "no header name"),
        (f"X\r\nY: {SECRET}", "no header name"),
        (f"X: {SECRET}\r\nY: z", "line break"),
        (f"X: {SECRET}\0", "control character"),
        (f"X: {SECRET}\N{EURO SIGN}", "Latin-1"),
        (f"X: {SECRET * 4_000}", "16384 are allowed"),
        ("Content-Length: 5", "how long a body is"),
        ("transfer-encoding: chunked", "how long a body is"),
        ("Connection: close", "about one connection"),
        ("X: ${no name}", "names no variable"),
    ],
)
def test_what_is_no_header_is_refused_without_its_value(text: str, told: str) -> None:
    with pytest.raises(PlanError, match=told) as caught:
        read_headers([text])
    assert SECRET not in str(caught.value)
    if ":" in text:
        name, _, value = text.partition(":")
        with pytest.raises(PlanError, match=told):
            plan_with({name: value})


def test_blanks_around_a_value_are_left_out_and_later_ones_win() -> None:
    found = read_headers(["X-A:  1 ", "Cookie: a=b; c=d:e", "x-a:2", "X-Empty:"])
    assert found == {"Cookie": "a=b; c=d:e", "x-a": "2", "X-Empty": ""}


def test_a_name_stands_once_in_a_table() -> None:
    with pytest.raises(PlanError, match=r"headers\.x-a: stands there twice"):
        plan_with({"X-A": "1", "x-a": "2"})


def test_values_travel_in_the_order_and_are_not_shown_with_it() -> None:
    targets = with_secrets(
        {"here": {"first": Target(url="http://127.0.0.1:1")}}, {"first": {"X": SECRET}}, SECRET
    )
    order = RunOrder(run_id="r", plan=plan_with(), targets=targets)
    assert SECRET not in repr(order)
    read = parse_order(order.to_json())
    assert read.targets["here"]["first"].headers == {"X": SECRET}
