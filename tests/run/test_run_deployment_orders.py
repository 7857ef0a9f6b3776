"""From a plan to what is deployed: names, regions, images, secrets, settings."""

from __future__ import annotations

import base64
import json
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import image_files as made
import pytest

from loadtest.errors import PlanError
from loadtest.fly.deploy import release_key
from loadtest.fly.orders import placements
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan, resolve_plan
from loadtest.run import app_files as module
from loadtest.run.run_deployment import RunDeployment, file_notes, orders_of
from loadtest.run.run_secrets import Secrets

KEYS = Secrets(database="p/w", replication="r", token="t", curve={"LOADTEST_CURVE_X": "c"})

FOREIGN = """
app = "shop"
primary_region = "cdg"
[processes]
app = "python shop.py"
[http_service]
internal_port = 8080
"""


def ordered(plan: Plan, **arguments: Any) -> RunDeployment:
    return orders_of(plan, "r1", KEYS, **arguments)


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app that is not ours, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "fly.toml").write_text(FOREIGN)
    return tmp_path


def plan_of(*deployments: dict[str, Any], **keys: Any) -> Plan:
    return resolve_plan(
        {
            "regions": ["cdg", "syd"],
            "primary_region": "cdg",
            "base": "0",
            "deployments": list(deployments),
            **keys,
        }
    )


def test_the_default_plan_names_apps_after_their_files_and_variants_after_their_origin() -> None:
    orders = ordered(load_plan())
    assert {name: order.name for name, order in orders.apps.items()} == {
        "single": "recipes-single",
        "multi": "recipes-multi",
        "replica": "recipes-replica",
        "single-mixed": "recipes-single-mixed",
        "multi-mixed": "recipes-multi-mixed",
    }
    assert orders.generator.name == "loadtest"
    assert orders.database is not None
    assert orders.database.name == "recipes-db"


def test_machines_stand_where_the_deployment_says_and_where_it_is_measured_from() -> None:
    orders = ordered(load_plan())
    assert orders.apps["single"].regions == ("cdg",)
    assert orders.apps["multi"].regions == ("cdg", "ord", "syd", "scl")
    assert orders.apps["multi-mixed"].regions == ("cdg", "scl")
    assert orders.database is not None
    assert orders.database.regions == ("cdg", "ord", "syd", "scl")
    assert orders.generator.group_regions == {
        "coordinator": ("cdg",),
        "worker": ("cdg", "ord", "syd", "scl"),
    }


def test_an_app_that_its_file_does_not_name_is_named_by_the_run(foreign: Path) -> None:
    (foreign / "shop" / "fly.toml").write_text(FOREIGN.replace('app = "shop"', "", 1))
    arms = [{"name": name, "fly_toml": "shop/fly.toml"} for name in ("base", "candidate")]
    orders = ordered(plan_of(*arms)).apps
    assert [order.name for order in orders.values()] == ["app", "app-candidate"]
    with pytest.raises(PlanError, match=r"deployments\.base: shop/fly\.toml names no app"):
        ordered(plan_of(*arms, world="fly"), image="registry.fly.io/loadtest:1")


def test_what_does_nothing_in_a_file_is_told_once_for_all_its_arms(foreign: Path) -> None:
    text = FOREIGN + 'internal_prot = 1\n[[statics]]\nguest_path = "/p"\nurl_prefix = "/s"\n'
    text += 'tigris_bucket = "b"\n'
    (foreign / "shop" / "fly.toml").write_text(text)
    arms = [{"name": name, "fly_toml": "shop/fly.toml"} for name in ("base", "candidate")]
    plan = plan_of(*arms)
    unknown = (
        "fly.toml of base, candidate: http_service.internal_prot: not a key of fly.toml, so it "
        "does nothing; did you mean internal_port?"
    )
    assert file_notes(plan, ordered(plan)) == (
        unknown,
        "fly.toml of base, candidate: statics: has no effect here: the app itself answers for it",
    )
    fly = plan_of(*({**arm, "url": ""} for arm in arms), world="fly")
    text = f'{text}[build]\nimage = "registry.fly.io/shop:1"\n'
    (foreign / "shop" / "fly.toml").write_text(text)
    assert file_notes(fly, ordered(fly, image="registry.fly.io/loadtest:1")) == (unknown,)


def test_a_gpu_is_read_and_refused_where_it_would_be_run(foreign: Path) -> None:
    text = FOREIGN + '[[vm]]\nsize = "l40s"\n[build]\nimage = "registry.fly.io/shop:1"\n'
    (foreign / "shop" / "fly.toml").write_text(text)
    arm = {"name": "one", "fly_toml": "shop/fly.toml"}
    with pytest.raises(PlanError, match=r"one: shop/fly\.toml gives group app a GPU.*--world fly"):
        ordered(plan_of(arm))
    order = ordered(plan_of(arm, world="fly"), image="registry.fly.io/loadtest:1").apps["one"]
    assert placements(order)[0].config.guest.gpu_kind == "l40s"


def test_a_database_may_stand_in_the_primary_region_alone_or_be_left_out(foreign: Path) -> None:
    shop = {"name": "shop", "fly_toml": "shop/fly.toml"}
    alone = ordered(plan_of(shop, database={"regions": "primary"})).database
    assert alone is not None
    assert alone.regions == ("cdg",)
    without = ordered(plan_of(shop, database={"fly_toml": ""}))
    assert without.database is None
    assert without.apps["shop"].secrets == {}
    assert ordered(plan_of({"name": "there", "url": "https://example.org"})).database is None


def test_an_image_brings_its_own_command_and_is_no_folder(foreign: Path) -> None:
    image = made.write_saved(foreign / "image.tar", [], {"Cmd": ["/shop"]})
    (foreign / "shop" / "fly.toml").write_text('app = "shop"\n[http_service]\ninternal_port = 80\n')
    arm = {"name": "one", "fly_toml": "shop/fly.toml", "image": "image.tar"}
    orders = ordered(plan_of(arm))
    assert orders.archives == {"shop": str(image)}
    assert orders.folders == {"loadtest": str(foreign)}
    assert orders.apps["one"].image == "shop:local"
    assert orders.apps["one"].env == {}
    named = plan_of({**arm, "image": "registry.fly.io/shop:7"}, world="fly")
    fly = ordered(named, image="registry.fly.io/loadtest:1")
    assert (fly.apps["one"].image, fly.archives) == ("registry.fly.io/shop:7", {})
    with pytest.raises(PlanError, match=r"deployments\.one\.image: image .*: cannot be read"):
        ordered(plan_of({**arm, "image": "registry.fly.io/shop:7"}))


def test_a_deployment_may_have_a_database_to_itself(foreign: Path) -> None:
    arms = [
        {"name": name, "fly_toml": "shop/fly.toml", "database": name.replace("shared", "")}
        for name in ("base", "candidate", "shared")
    ]
    orders = ordered(plan_of(*arms))
    assert orders.database is not None
    assert orders.database.env == {"DATABASE_NAME": "recipes", "MORE_DATABASES": "base,candidate"}
    urls = {name: order.secrets["DATABASE_URL"] for name, order in orders.apps.items()}
    assert {name: url.rpartition("/")[2] for name, url in urls.items()} == {
        "base": "base",
        "candidate": "candidate",
        "shared": "recipes",
    }
    assert len({release_key(order)[1] for order in orders.apps.values()}) == 3


def test_secrets_reach_the_apps_that_need_them_and_no_other() -> None:
    orders = ordered(load_plan())
    assert orders.generator.secrets == {"LOADTEST_TOKEN": "t", "LOADTEST_CURVE_X": "c"}
    assert orders.database is not None
    assert set(orders.database.secrets) == {"OPERATOR_PASSWORD", "SU_PASSWORD", "REPL_PASSWORD"}
    assert orders.apps["replica"].secrets == {
        "DATABASE_URL": "postgres://postgres:p%2Fw@recipes-db.internal:5432/recipes",
        "REPLICA_DATABASE_URL": (
            "postgres://postgres:p%2Fw@top1.nearest.of.recipes-db.internal:5433/recipes"
        ),
    }
    assert "p/w" not in repr(KEYS)


def test_what_the_apps_are_given_the_scenario_finds_too() -> None:
    orders = ordered(load_plan(), app_secrets={"SHOP_KEY": "k"})
    assert orders.apps["single"].secrets["SHOP_KEY"] == "k"
    assert json.loads(orders.generator.secrets["LOADTEST_SCRIPT_ENVIRONMENT"]) == {"SHOP_KEY": "k"}
    assert orders.database is not None
    assert "SHOP_KEY" not in orders.database.secrets


@pytest.mark.parametrize(
    ("form", "primary"),
    [
        (
            "postgresql+psycopg://{user}:{password}@{host}:{port}/{name}?sslmode=disable",
            "postgresql+psycopg://postgres:p%2Fw@recipes-db.internal:5432/recipes?sslmode=disable",
        ),
        (
            "jdbc:postgresql://{host}:{port}/{name}?user={user}&password={password}",
            "jdbc:postgresql://recipes-db.internal:5432/recipes?user=postgres&password=p%2Fw",
        ),
    ],
)
def test_addresses_of_databases_have_the_form_that_a_driver_wants(form: str, primary: str) -> None:
    found = ordered(load_plan(None, {"database.url": form})).apps["multi"].secrets
    assert found["DATABASE_URL"] == primary
    replica = ("top1.nearest.of.recipes-db.internal", ":5433")
    assert found["REPLICA_DATABASE_URL"] == primary.replace(
        "recipes-db.internal", replica[0]
    ).replace(":5432", replica[1])


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("postgres://{login}@{host}/{name}", r"\{login\} is no field of it; there are \{user\}"),
        ("postgres://{host:>9}/x", r"\{>9\} is no field"),
        ("postgres://{host!r}/x", r"\{r\} is no field"),
        ("postgres://{host", "it is like postgres://"),
        ("postgres://localhost/x", r"has no \{host\}"),
    ],
)
def test_a_form_that_cannot_be_filled_in_is_refused(form: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        load_plan(None, {"database.url": form})


def test_secrets_are_new_for_every_run() -> None:
    one, other = Secrets(), Secrets()
    assert one.token != other.token
    assert one.database != one.replication
    assert one.curve.keys() == {
        f"LOADTEST_CURVE_{side}_{half}"
        for side in ("SERVER", "CLIENT")
        for half in ("PUBLIC", "SECRET")
    }


def test_the_base_time_by_region_leaves_room_for_the_hop_to_the_machine() -> None:
    plan = load_plan(None, {"regions": ["cdg", "syd"], "base_ms": None, "base": "20"})
    assert ordered(plan).apps["single"].env["APP_BASE_MS"] == "cdg=19.5,syd=19.5"
    assert "APP_BASE_MS" not in ordered(load_plan(None, {"base": "0"})).apps["single"].env
    short = load_plan(None, {"regions": ["cdg"], "base": "0.2"})
    assert ordered(short).apps["single"].env["APP_BASE_MS"] == "cdg=0"


def test_variants_differ_in_connections_only() -> None:
    apps = ordered(load_plan()).apps
    assert apps["multi-mixed"].env["NEW_CONNECTION_SHARE"] == "0.68"
    secure = urlsplit(apps["multi-mixed"].secrets["NEW_CONNECTION_URL"])
    assert (secure.hostname, secure.port) == ("recipes-db.internal", 6432)
    assert secure.query == "sslmode=require"
    assert "NEW_CONNECTION_SHARE" not in apps["multi"].env
    assert "NEW_CONNECTION_URL" not in apps["multi"].secrets
    assert apps["single-mixed"].new_connection_share == 0.68
    assert apps["single"].new_connection_share == 0


def test_our_apps_run_in_the_working_directory_and_others_in_their_own(foreign: Path) -> None:
    orders = ordered(plan_of({"name": "shop", "fly_toml": "shop/fly.toml"}))
    assert orders.apps["shop"].image == "shop:local"
    assert orders.folders == {"loadtest": str(foreign), "shop": str(foreign / "shop")}

    ours = ordered(load_plan())
    assert ours.apps["single"].image == "loadtest:local"
    assert ours.folders == {"loadtest": str(foreign)}


def test_a_folder_gives_one_of_our_apps_an_image_of_its_own(foreign: Path) -> None:
    deployment = {"name": "base", "fly_toml": "shop/fly.toml", "folder": "shop"}
    orders = ordered(plan_of(deployment))
    assert orders.folders["shop"] == str(foreign / "shop")


def test_a_pushed_image_wins(foreign: Path) -> None:
    orders = ordered(load_plan(), image="registry.fly.io/x:1")
    assert {order.image for order in orders.apps.values()} == {"registry.fly.io/x:1"}
    assert orders.generator.image == "registry.fly.io/x:1"


def test_two_deployments_of_one_file_are_two_apps(foreign: Path) -> None:
    orders = ordered(
        plan_of(
            {"name": "base", "fly_toml": "shop/fly.toml"},
            {"name": "candidate", "fly_toml": "shop/fly.toml"},
        )
    )
    assert [order.name for order in orders.apps.values()] == ["shop", "shop-candidate"]
    assert set(orders.folders) == {"loadtest", "shop", "shop-candidate"}


def test_a_deployment_with_a_url_is_not_deployed() -> None:
    assert ordered(plan_of({"name": "there", "url": "https://example.org"})).apps == {}


def test_a_file_that_vanished_is_named(foreign: Path) -> None:
    plan = plan_of({"name": "shop", "fly_toml": "shop/fly.toml"})
    (foreign / "shop" / "fly.toml").unlink()
    with pytest.raises(PlanError, match=r"deployments\.shop\.fly_toml: there is no file"):
        ordered(plan)


def test_every_order_takes_the_plans_deadline(foreign: Path) -> None:
    orders = ordered(plan_of({"name": "s", "fly_toml": "shop/fly.toml"}, healthy_within_s=3))
    assert orders.database is not None
    every = [*orders.apps.values(), orders.generator, orders.database]
    assert {order.deadline_s for order in every} == {3.0}


class TestOnFly:
    """Machines cost money there and names are everybody's."""

    @staticmethod
    def orders(image: str = "registry.fly.io/mine:v1") -> RunDeployment:
        plan = load_plan().model_copy(update={"world": "fly"})
        return orders_of(plan, "r1", KEYS, image=image)

    def test_an_image_of_this_machine_alone_is_refused(self) -> None:
        with pytest.raises(PlanError, match=r"--image: app .* 'loadtest:local', which Fly cannot"):
            self.orders(image="")

    @pytest.mark.parametrize(
        ("source", "installed", "image"),
        [
            ("https://github.com/Acme/Load-Test", "", "ghcr.io/acme/load-test:1.2.3"),
            ("https://github.com/OWNER/loadtest", "v1.2.3", "ghcr.io/bee/speed:1.2.3"),
            ("https://github.com/OWNER/loadtest", "main", ""),
        ],
    )
    def test_the_image_of_the_release_is_the_default(
        self, source: str, installed: str, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the release's package says, or pip of one that it has made from a tag."""
        told = Message()
        told["Project-URL"] = "Documentation, https://github.com/Acme/Other/tree/main/docs"
        told["Project-URL"] = f"Source, {source}"
        git = {"vcs": "git", "requested_revision": installed, "commit_id": "0" * 40}
        direct = json.dumps({"url": "https://github.com/Bee/speed.git", "vcs_info": git})
        package = SimpleNamespace(
            version="1.2.3", metadata=told, read_text=lambda _: direct if installed else None
        )
        monkeypatch.setattr(module.metadata, "distribution", lambda _name: package)
        if image:
            assert self.orders(image="").generator.image == image
        else:
            self.test_an_image_of_this_machine_alone_is_refused()

    def test_the_scenario_travels_to_the_workers(self, foreign: Path) -> None:
        (foreign / "mine.py").write_text("# mine\n")
        url = {"name": "there", "url": "https://example.org"}
        scenarios = {"mine.py": "/app/mine.py", str(foreign / "mine.py"): f"{foreign}/mine.py"}
        for scenario, path in scenarios.items():
            plan = plan_of(url, world="fly", scenario=scenario)
            places = placements(ordered(plan, image="registry.fly.io/mine:v1").generator)
            for place in places:
                (file,) = place.config.files
                assert (file.path, base64.b64decode(file.content)) == (path, b"# mine\n")
        assert ordered(plan_of(url)).generator.files == ()
        (foreign / "mine.py").write_text("#" * (1 << 20) + "\n")
        with pytest.raises(PlanError, match=r"scenario: .*mine\.py has 1048577 bytes; 1048576 can"):
            ordered(plan_of(url, world="fly", scenario="mine.py"), image="registry.fly.io/m:1")

    def test_all_of_ours_run_the_image_that_is_named(self) -> None:
        orders = self.orders()
        assert orders.database is not None
        every = [orders.database, orders.generator, *orders.apps.values()]
        assert {order.image for order in every} == {"registry.fly.io/mine:v1"}

    def test_no_machine_outlives_its_process_and_no_app_of_others_is_touched(self) -> None:
        orders = self.orders()
        assert orders.database is not None
        for order in (orders.database, orders.generator, *orders.apps.values()):
            assert not order.adopt
            for place in placements(order):
                assert place.config.auto_destroy
                assert place.config.restart_policy == "no"

    def test_each_has_the_time_to_pull_its_image_too(self) -> None:
        assert {order.deadline_s for order in self.orders().every} == {300.0}
        plan = plan_of({"name": "s", "url": "https://a.example"}, world="fly", deploy_within_s=9)
        orders = ordered(plan, image="registry.fly.io/mine:v1")
        assert orders.generator.deadline_s == plan.healthy_within_s  # which is longer

    def test_a_real_app_takes_the_time_it_takes(self) -> None:
        assert all("APP_BASE_MS" not in order.env for order in self.orders().apps.values())

    def test_the_database_is_asked_for_in_one_region(self) -> None:
        url = self.orders().apps["single"].secrets["DATABASE_URL"]
        assert "@cdg.recipes-db.internal:5433/" in url

    def test_what_is_reached_by_name_has_addresses_and_the_database_has_none(self) -> None:
        orders = self.orders()
        assert orders.database is not None
        assert orders.generator.public
        assert all(order.public for order in orders.apps.values())
        assert not orders.database.public


def test_an_apps_own_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its developer would start it: with the .venv beside its fly.toml."""
    (tmp_path / "fly.toml").write_text('app = "shop"\n[processes]\napp = "uvicorn shop:app"\n')
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", "/usr/bin")
    arms = [
        {"name": "a", "fly_toml": str(tmp_path / "fly.toml")},
        {"name": "b", "fly_toml": str(tmp_path / "fly.toml"), "env": {"PATH": "/own"}},
    ]
    plan = resolve_plan({"regions": ["cdg"], "primary_region": "cdg", "deployments": arms})
    apps = orders_of(plan, "r1", Secrets()).apps
    assert apps["a"].env["PATH"] == f"{tmp_path}/.venv/bin:/usr/bin"
    assert apps["b"].env["PATH"] == "/own"


def with_companions(*companions: dict[str, Any], **keys: Any) -> Plan:
    fly_toml = "fly/recipes-multi/fly.toml"
    deployments = [{"name": name, "fly_toml": fly_toml} for name in ("one", "two")]
    return plan_of(*deployments, companions=list(companions), **keys)


def test_companions_stand_beside_and_tell_the_nearest_cache() -> None:
    cache = {"name": "cache", "fly_toml": "fly/recipes-cache/fly.toml", "variable": "REDIS_URL"}
    worker = {"name": "worker", "fly_toml": "fly/recipes-worker/fly.toml", "machines": "primary"}
    orders = ordered(with_companions(cache, worker))
    assert orders.companions["cache"].regions == ("cdg", "syd")
    assert orders.companions["cache"].secrets == {}
    assert orders.companions["worker"].regions == ("cdg",)
    assert "DATABASE_URL" in orders.companions["worker"].secrets
    near = "redis://top1.nearest.of.recipes-cache.internal:6379"
    told = [order.env["REDIS_URL"] for order in orders.apps.values()]
    assert told == [f"{near}/0", f"{near}/1"]
    assert [order.name for order in orders.every] == [
        *("recipes-db", "recipes-cache", "recipes-worker"),
        *("recipes-multi", "recipes-multi-two", "loadtest"),
    ]


def test_a_companion_that_has_no_stand_in_is_refused(foreign: Path) -> None:
    with pytest.raises(PlanError, match=r"companions\.shop: shop/fly.toml runs ''"):
        ordered(with_companions({"name": "shop", "fly_toml": "shop/fly.toml"}))
    with pytest.raises(PlanError, match=r"companions: the name 'x' is used more than once"):
        with_companions(*[{"name": "x", "fly_toml": "shop/fly.toml"}] * 2)
    with pytest.raises(PlanError, match=r"companions\.x\.fly_toml: there is no file"):
        with_companions({"name": "x", "fly_toml": "nowhere.toml"})
