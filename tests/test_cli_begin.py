"""The commands for who begins: what they write, what they say, what they refuse."""

from __future__ import annotations

import os
import re
from itertools import count
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from loadtest.cli import cli
from loadtest.errors import EXIT_WORLD, PlanError
from loadtest.fly.config import read_app_config
from loadtest.plan.resolve import load_plan
from loadtest.regions import region_table
from loadtest.run import doctor
from loadtest.run.begin import PLAN, WORKFLOW, begin
from loadtest.run.start_command import with_start_command
from loadtest.terminal import Terminal

FLY = 'app = "shop"\nprimary_region = "syd"\n[http_service]\ninternal_port = 8080\n'


def said(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), obj=Terminal(), standalone_mode=False)


class TestInit:
    def test_an_app_gets_a_plan_that_can_be_read_and_a_workflow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "fly.toml").write_text(FLY)
        monkeypatch.chdir(tmp_path)
        made = begin(Path())
        plan = load_plan(PLAN)
        assert (plan.primary_region, plan.regions) == ("syd", ("syd", "cdg", "ord"))
        assert [d.machines for d in plan.deployments] == ["primary", "all"]
        assert read_app_config(Path(plan.deployments[0].fly_toml)).name == "shop"
        assert made.advice[0] == f"loadtest run {PLAN}"
        assert "loadtest gate --base origin/${{ github.base_ref }}" in Path(WORKFLOW).read_text()
        compile(Path(plan.scenario).read_text(), plan.scenario, "exec")

    def test_a_url_gets_a_plan_without_a_database(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        begin(tmp_path, "http://127.0.0.1:3000/")
        plan = load_plan(PLAN)
        assert plan.deployments[0].url == "http://127.0.0.1:3000"
        assert (plan.regions, plan.database.fly_toml) == (("here",), "")

    @pytest.mark.parametrize(
        ("files", "command", "port"),
        [
            ({"main.py": "import fastapi\nweb = fastapi.FastAPI()\n"},
             "python -m uvicorn main:web --host 0.0.0.0 --port 8080", 8080),
            ({"lib.py": "x = 1\n", "src/api.py": "app: Starlette = Starlette(routes=[])\n"},
             "python -m uvicorn src.api:app --host 0.0.0.0 --port 8080", 8080),
            ({"app.py": "from flask import Flask\napp = Flask(__name__)\n", "bad.py": "def"},
             "python -m flask --app app:app run --host 0.0.0.0 -p 8080", 8080),
            ({"manage.py": ""}, "python manage.py runserver --noreload 0.0.0.0:8080", 8080),
            ({"Dockerfile": 'FROM x\nEXPOSE 3000\nCMD ["node", "a b.js"]\n'}, "node 'a b.js'",
             3000),
            ({"Procfile": "web: bin/serve\n"}, "/bin/sh -c bin/serve", 8080),
        ],
        ids=["fastapi", "starlette", "flask", "django", "dockerfile", "procfile"],
    )  # fmt: skip
    def test_an_app_without_a_fly_toml_gets_one_that_starts_it(
        self,
        files: dict[str, str],
        command: str,
        port: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.chdir(tmp_path)
        made = begin(Path())
        assert Path("fly.toml") in made.files
        assert load_plan(PLAN).primary_region == "cdg"
        config = with_start_command(read_app_config(Path("fly.toml")), "", tmp_path, "app")
        assert list(config.processes.values()) == [command]
        assert [scoped.value.internal_port for scoped in config.services] == [port]

    def test_a_path_of_the_url_is_what_the_scenario_asks_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        begin(tmp_path, "http://127.0.0.1:3000/a?b='c'")
        assert load_plan(PLAN).deployments[0].url == "http://127.0.0.1:3000"
        text = Path("loadtest_scenario.py").read_text()
        assert """self.client.get("/a?b='c'")""" in text
        compile(text, "scenario", "exec")

    @pytest.mark.parametrize("url", ["https://me:secret@h/", "shop", "https://h:0/"])
    def test_what_is_no_url_for_a_file_is_refused(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(PlanError, match="--url: ") as caught:
            begin(tmp_path, url)
        assert "secret" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "fly.toml").write_text(FLY)
        (tmp_path / PLAN).write_text("mine")
        with pytest.raises(PlanError, match=f"{PLAN} would be overwritten"):
            begin(tmp_path)
        assert sorted(os.listdir(tmp_path)) == ["fly.toml", PLAN]
        assert (tmp_path / PLAN).read_text() == "mine"

    def test_a_folder_with_nothing_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(PlanError, match="name a running deployment with --url"):
            begin(tmp_path)
        with pytest.raises(PlanError, match="--url: 'shop' is no URL"):
            begin(tmp_path, "shop")

    def test_a_locustfile_gets_a_workflow_and_needs_no_plan(self, tmp_path: Path) -> None:
        (tmp_path / "locustfile.py").touch()
        made = begin(tmp_path)
        assert made.files == (tmp_path / WORKFLOW,)
        assert made.advice[0] == "loadtest run -f locustfile.py --host https://HOST"
        workflow = yaml.safe_load(made.files[0].read_text())
        assert 'loadtest run -f locustfile.py --host "$HOST"' in str(workflow["jobs"]["load"])


class TestRegions:
    def test_every_region_in_use_is_listed_and_retired_ones_on_demand(self) -> None:
        shown, everything = said("regions").output, said("regions", "--all").output
        for code, region in region_table().items():
            assert (f" {code} " in shown) == (not region.retired)
            assert f" {code} " in everything

    def test_round_trips_from_one_come_nearest_first_with_their_source(self) -> None:
        lines = said("regions", "CDG").output.splitlines()
        times = [float(line.split(" ms")[0].split()[-1]) for line in lines if " ms " in line]
        assert len(times) > 10
        assert times == sorted(times)

    def test_an_unknown_one_is_told_with_what_is_near(self) -> None:
        assert "'cgd' is no region; near are" in str(said("regions", "cgd").exception)


def test_words_are_explained_and_unknown_ones_refused() -> None:
    assert said("explain", "cold").output.startswith("cold TTFB\n")
    assert "A cell" not in said("explain", "cold").output
    assert said("explain").output.count("\n\n") > 8
    assert "'nonsense' is no word of the reports" in str(said("explain", "nonsense").exception)


def test_scenarios_are_listed_with_what_they_say_of_themselves() -> None:
    told = said("scenarios").output
    assert re.search(r"scenarios/latency-tables\.toml +The published latency tables", told)
    assert "scenarios/pages.py" in told


class TestDoctor:
    @pytest.mark.parametrize(("cost_ns", "state"), [(40, "works"), (3_000, "lost")])
    def test_a_clock_that_is_slow_to_read_is_told(self, cost_ns: int, state: str) -> None:
        stamps = count(0, cost_ns)
        (found,) = doctor._clock(lambda: next(stamps))
        assert (found.state, f"read in {cost_ns:,} ns" in found.told) == (state, True)

    def test_it_finds_what_this_machine_has(self) -> None:
        found = {
            finding.subject: finding for finding in doctor.examine({"FLY_API_TOKEN": "secret"})
        }
        assert found["PostgreSQL"].state == "works"
        printed = said("doctor").output.splitlines()
        starts = {line.index(f.told[:12]) for f in found.values()
                  for line in printed if f.told[:12] in line}  # fmt: skip
        assert len(starts) == 1, "what was found is not one column"
        assert found["Python"].state == "works"
        assert "FLY_API_TOKEN is set" in found["Fly"].told
        assert "secret" not in str(found)
        assert {f.state for f in found.values()} <= {"works", "lost"}

    def test_what_no_run_can_do_without_decides_the_exit_code(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = doctor.Symptom("PostgreSQL", "broken", "no server")
        monkeypatch.setattr(doctor, "examine", lambda: (missing,))
        done = said("doctor")
        assert done.return_value == EXIT_WORLD
        assert "No run is possible in the embedded world: PostgreSQL." in done.output


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["run", "--regions", "cdg,sy"], "plain,cdg,syd"),
        (["run", "--at", "cd"], "plain,cdg"),
        (["regions", "CD"], "plain,cdg"),
        (["run", "shop"], "file,shop"),
        (["run", "--scenario", "x"], "file,x"),
        (["expl"], "plain,explain"),
    ],
)
def test_a_shell_completes(
    typed: list[str],
    completed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_LOADTEST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["loadtest", *typed]))
    monkeypatch.setenv("COMP_CWORD", str(len(typed)))
    with pytest.raises(SystemExit):
        cli.main(prog_name="loadtest", standalone_mode=False)
    assert completed in capsys.readouterr().out.splitlines()
