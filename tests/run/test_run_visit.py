"""What `loadtest world up` says: every address, and how to measure from another terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from run_places import world_facts

from loadtest.errors import PlanError
from loadtest.plan.resolve import load_plan
from loadtest.records.world_facts import LinkFacts, MachineFacts, WorldFacts
from loadtest.run import visit as module
from loadtest.run.link_words import MEASURINGS, link_sentence
from loadtest.run.progress import Silent
from loadtest.run.run_world import RunWorld


def machine(app: str, region: str, **ports: int) -> MachineFacts:
    numbered = {name.removeprefix("p"): port for name, port in ports.items()}
    return MachineFacts("1", app, app, region, "app", "started", 9, numbered)


WORLD = world_facts(
    links=(LinkFacts("cdg", "syd", 280.0, 290.0, 291.0, 7, ok=False),),
    link_layer="hosts",
    edges={
        "cdg": {"recipes-single": "http://127.0.0.1:7001", "other": "http://127.0.0.1:7009"},
        "syd": {"recipes-single": "http://127.0.0.1:7002"},
    },
    secure_edges={"cdg": {}, "syd": {"recipes-single": "https://127.0.0.1:7012"}},
    authority="/world/authority.pem",
    machines=(
        machine("recipes-db", "cdg", p5432=7432, p5433=7432),
        machine("recipes-db", "syd", p5433=7433),
        machine("recipes-single", "cdg", p8080=7080),
    ),
)


class Extras:
    """An embedded world that is always the same, with a link that is not as it was set."""

    measured = 0
    strict = False

    def measure(self) -> tuple[LinkFacts, ...]:
        self.measured += 1
        return WORLD.links

    def be_strict(self) -> None:
        self.strict = True

    def describe(self) -> WorldFacts:
        return WORLD


class Left(Exception):  # noqa: N818 - no error: somebody has seen enough
    """Stands for Ctrl-C."""


def test_a_plan_for_fly_is_refused_before_anything_is_ordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "open_place", pytest.fail)
    plan = load_plan(None, {"regions": ["cdg", "syd"], "world": "fly"})
    with pytest.raises(PlanError, match="'fly' cannot be brought up to look around in"):
        module.stay(plan, Silent(), lambda _: pytest.fail("it told"))


def test_every_address_is_told_and_the_world_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed: list[bool] = []

    extras, progress = Extras(), Silent()

    @contextmanager
    def open_place(*_: Any) -> Iterator[RunWorld]:
        yield RunWorld("http://127.0.0.1:9", "world-token", extras)  # type: ignore[arg-type]

    class Waiting:
        def wait(self) -> None:
            raise Left

    monkeypatch.setattr(module, "open_place", open_place)
    monkeypatch.setattr(module, "deploy_all", lambda *_, generator: deployed.append(generator))
    monkeypatch.setattr(module.threading, "Event", Waiting)
    plan = load_plan(None, {"regions": ["cdg", "syd"], "deployments": ["single"]})
    lines: list[str] = []
    with pytest.raises(Left):
        module.stay(plan, progress, lines.extend, flags="--regions cdg,syd")

    assert deployed == [False]
    assert extras.measured == MEASURINGS
    assert extras.strict
    assert progress.sentences[-1:] == [link_sentence(link) for link in WORLD.links]
    text = "\n".join(lines)
    assert "  syd  recipes-single  http://127.0.0.1:7002" in lines
    assert "  syd  recipes-single  TLS  https://127.0.0.1:7012" in lines
    assert "curl --cacert /world/authority.pem" in text
    assert "7009" not in text
    assert "  loadtest world exec syd -- curl -i https://recipes-single.fly.dev/" in lines
    assert "  loadtest world exec recipes-single/cdg -- sh" in lines
    dsns = [line.split() for line in lines if "postgres://" in line]
    assert [(region, dsn.partition("@")[2]) for region, dsn in dsns] == [
        ("cdg", "127.0.0.1:7432/recipes"),
        ("syd", "127.0.0.1:7433/recipes"),
    ]
    assert (
        "  LOADTEST_WORLD_TOKEN=world-token loadtest run --regions cdg,syd "
        "--world http://127.0.0.1:9" in lines
    )
    assert lines[-1] == "Ctrl-C ends it."
