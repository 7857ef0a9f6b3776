"""A coordinator and workers that were started by hand, driven by `loadtest run --coordinator`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml
from own_rig import OwnRig, own_rig
from whole_program import finished, has_measured, loadtest, read

from loadtest.errors import EXIT_ENGINE, EXIT_INVALID, EXIT_PASS, EngineError
from loadtest.run.own_machines import find_coordinator, regions_there
from loadtest.versions import versions_of

pytestmark = [
    pytest.mark.contract,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="children die with the test by prctl"),
]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SHORT = ("--duration", "2", "--warmup", "1", "--looks", "1")
MEASURED = (EXIT_PASS, EXIT_INVALID)
"""A machine that is busy with other things measures as much, and says that it was busy."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[OwnRig]:
    with own_rig(tmp_path) as found:
        yield found


def test_a_url_is_measured_from_every_region_that_has_a_worker(rig: OwnRig) -> None:
    """Two workers in one region, a wrong key, another version, a wrong token: each is told."""
    version = (
        "from importlib import metadata as m; v = m.version\n"
        "m.version = lambda name: '0.0.9' if name == 'loadtest' else v(name)\n"
    )
    (rig.folder / "older").mkdir()
    (rig.folder / "older" / "sitecustomize.py").write_text(version)
    wrong = (rig.keys / "worker.env").read_text().splitlines()
    wrong[-1] = f"{wrong[-1].partition('=')[0]}={'5e' * 32}"
    (rig.folder / "wrong.env").write_text("\n".join(wrong))

    rig.coordinator()
    for region in ("cdg", "ord", "syd"):
        rig.worker(region)
    rig.worker("syd", "second")
    stranger = rig.worker("lhr", "stranger", "--keys", "wrong.env")
    older = str(rig.folder / "older")
    rig.worker("nrt", "older", PYTHONPATH=older)
    rig.await_workers(4)
    url, where = rig.target(), ("--coordinator", rig.url)
    done = finished("run", f"{url}/recipes", *where, *SHORT, "--out", "run", cwd=rig.folder)
    assert done.returncode in MEASURED, done.stderr
    told = " ".join(done.stderr.split())
    assert "syd has 2 workers and the plan takes 1 of them" in told
    assert "stands by" in told
    cells = read(rig.folder / "run" / "summary.json")["cells"]
    assert {(c["region"], c["n"], c["errors"]) for c in cells} == {
        (region, 10, 0) for region in ("cdg", "ord", "syd")
    }
    world = read(rig.folder / "run" / "world.json")
    assert (world["kind"], world["api"]) == ("own", rig.url)
    report = (rig.folder / "run" / "report.md").read_text()
    assert f"cannot tell how its links fared under load: {world['watch']['cannot_tell']}" in report

    assert stranger.wait(20) == EXIT_ENGINE
    assert "refuses the keys of this worker" in rig.log("stranger")
    far = finished("run", url, *where, "--regions", "cdg,nrt", *SHORT, cwd=rig.folder)
    assert far.returncode == EXIT_ENGINE
    ours, told = versions_of(("loadtest",))["loadtest"], " ".join(far.stderr.split())
    assert "nrt (0 of 1); present are cdg, ord, syd; older-" in told
    assert f"runs loadtest 0.0.9, the coordinator {ours}" in told
    (rig.folder / "token.env").write_text("LOADTEST_TOKEN=wrong")
    other = finished("run", url, *where, "--keys", "token.env", *SHORT, cwd=rig.folder)
    assert other.returncode == EXIT_ENGINE
    assert "missing or wrong token" in other.stderr
    assert "Traceback" not in done.stderr + far.stderr + other.stderr + rig.log("coordinator")


def test_a_silent_driver_ends_the_load_and_the_next_run_finds_all_there(rig: OwnRig) -> None:
    rig.coordinator("--driver-silent", "2s")
    rig.worker("cdg")
    rig.await_workers(1)
    url, where = rig.target(), ("--coordinator", rig.url)
    long = ("--duration", "10m", "--warmup", "1", "--out", "long")
    with loadtest("run", url, *where, *long, cwd=rig.folder) as program:
        program.wait_for(lambda: has_measured(rig.folder / "long"), "steady rows")
        second = finished("run", url, *where, *SHORT, "--out", "second", cwd=rig.folder)
        assert second.returncode == EXIT_ENGINE
        assert "is in state steady; wait for it or stop it" in " ".join(second.stderr.split())
        program.process.kill()
        said = "nobody has asked for 2 s: ending the run"  # asking it would be to be heard
        rig.until(lambda: said in rig.log("coordinator"), "the load ends")
    rig.until(lambda: rig.state() == "stopped", "it has ended")
    done = finished("run", url, *where, *SHORT, "--out", "run", cwd=rig.folder)
    assert done.returncode in MEASURED, done.stderr


@pytest.mark.slow
def test_a_worker_that_is_lost_costs_its_region_alone(rig: OwnRig) -> None:
    rig.coordinator(LOADTEST_LOST_AFTER_S="2.5")
    rig.worker("cdg")
    victim = rig.worker("syd")
    rig.await_workers(2)
    url, where = rig.target(), ("--coordinator", rig.url)
    lasting = ("--duration", "12", "--warmup", "1", "--looks", "1", "--out", "run")
    with loadtest("run", url, *where, *lasting, cwd=rig.folder) as program:
        program.wait_for(lambda: has_measured(rig.folder / "run"), "steady rows")
        victim.kill()
        assert program.process.wait(90) == EXIT_INVALID
    workers = {w["region"]: w["state"] for w in read(rig.folder / "run" / "engine.json")["workers"]}
    assert workers == {"cdg": "finished", "syd": "lost"}
    cells = {c["region"]: c for c in read(rig.folder / "run" / "summary.json")["cells"]}
    assert cells["cdg"]["n"] == 60
    assert not cells["syd"]["valid"]


def compose_service(name: str, rig: OwnRig) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of a service of the compose file, its variables filled in."""
    service = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"][name]
    asked = {"REGION": "syd", "COORDINATOR": f"127.0.0.1:{rig.worker_port}"}
    command = [re.sub(r"\$\{(\w+):-\}", lambda m: asked[m[1]], word) for word in service["command"]]
    environment = {key: str(value) for key, value in service.get("environment", {}).items()}
    for file in service["env_file"]:
        environment |= lines_of(rig.keys / file)
    return command, environment


def pod(name: str, rig: OwnRig) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of a deployment's container, as Kubernetes fills them in."""
    manifest = list(yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text()))
    (deployment,) = (m for m in manifest if m["metadata"]["name"] == f"loadtest-{name}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    if "COORDINATOR" in environment:
        environment["COORDINATOR"] = f"127.0.0.1:{rig.worker_port}"
    command = [re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], w) for w in container["args"]]
    for source in container["envFrom"]:
        secret = source["secretRef"]["name"].removeprefix("loadtest-")
        environment |= lines_of(rig.keys / f"{secret}.env")
    return command, environment


def lines_of(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_a_coordinator_speaks_tls_to_who_trusts_its_certificate(
    rig: OwnRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another authority, and another name, are told at once: the token is not sent."""
    authority = trustme.CA()
    key, chain, ca = (rig.folder / name for name in ("key.pem", "chain.pem", "ca.pem"))
    signed = authority.issue_cert("localhost")
    signed.private_key_pem.write_to_path(str(key))
    signed.cert_chain_pems[0].write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca))
    ports = ("--port", str(rig.port), "--worker-port", str(rig.worker_port))
    tls = ("--tls-cert", str(chain), "--tls-key", str(key))
    keys = ("--keys", str(rig.keys / "coordinator.env"))
    rig.start("coordinator", "-m", "loadtest", "coordinator", *ports, *tls, *keys)

    def answer(host: str, ca_file: Path) -> str:
        environment = {"LOADTEST_COORDINATOR_CA": str(ca_file)}
        url = f"https://{host}:{rig.port}"
        own = find_coordinator(url, rig.keys / "driver.env", environment)
        with pytest.raises(EngineError) as told:
            regions_there(own)
        return str(told.value)

    monkeypatch.setattr("loadtest.run.coordinator.PATIENCE_S", 100.0)
    assert "has no workers" in answer("localhost", ca)  # once it is up: a GET waits for that
    other = rig.folder / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setattr("loadtest.run.coordinator.PATIENCE_S", 0.0)
    wrong = answer("localhost", other)
    assert "its certificate is not trusted (" in wrong
    assert "LOADTEST_COORDINATOR_CA=FILE" in wrong
    assert "its certificate is not trusted (" in answer("127.0.0.1", ca)


def test_what_compose_and_kubernetes_start_finds_each_other(rig: OwnRig) -> None:
    """The very commands and variables of the files, on loopback addresses and free ports."""
    here = {
        "LOADTEST_BIND": "127.0.0.1",
        "PORT": str(rig.port),
        "LOCUST_PORT": str(rig.worker_port),
    }
    (rig.folder / "elsewhere").mkdir()  # no file of keys is found by chance
    command, environment = compose_service("coordinator", rig)
    assert pod("coordinator", rig) == (command, environment)
    assert set(here) <= set(environment)
    rig.start_as("coordinator", command, {**environment, **here})
    rig.start_as("composed", *compose_service("worker", rig))
    rig.start_as("pod", *pod("worker", rig))
    rig.await_workers(2)
    assert {w["region"] for w in (rig.status() or {})["workers"]} == {"syd", "fra"}


def test_every_container_may_do_no_more_than_it_has_to() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    for service in compose["services"].values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "127.0.0.1:8089:8089" in compose["services"]["coordinator"]["ports"]
    for part in yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text()):
        if part["kind"] == "Deployment":
            spec = part["spec"]["template"]["spec"]
            assert (spec["securityContext"]["runAsNonRoot"], part["spec"]["replicas"]) == (True, 1)
            allowed = spec["containers"][0]["securityContext"]
            assert allowed["readOnlyRootFilesystem"]
            assert not allowed["allowPrivilegeEscalation"]
            assert allowed["capabilities"]["drop"] == ["ALL"]
        elif part["metadata"]["name"] == "loadtest-api":
            assert "type" not in part["spec"]  # reachable within the cluster alone


NUMBERS = """
schema = 1
regions = ["cdg", "ord", "syd"]
primary_region = "cdg"
scenario = "scenarios/pages.py"
paths = ["/recipes"]
base = "0"
reproduce = false
[load]
rate = 15
duration_s = 12
warmup_s = 2
[network]
rtt = "neutral"
layer = "relay"
[database]
fly_toml = ""
[gate]
max_looks = 1
[[deployments]]
name = "target"
url = "{url}"
"""


def medians(run: Path) -> dict[str, float]:
    """Return the medians of a run's regions; an invalid run is a busy machine's, and has none."""
    assert read(run / "verdict.json")["decision"] != "invalid", "needs less other work"
    cells = read(run / "summary.json")["cells"]
    return {cell["region"]: cell["ttfb_ms"]["p50"] for cell in cells}


@pytest.mark.slow
def test_workers_started_by_hand_measure_what_the_worlds_own_do(rig: OwnRig) -> None:
    """Three of each ask the same server, one run after the other: medians within 0.3 ms."""
    (rig.folder / "plan.toml").write_text(NUMBERS.format(url=rig.target()))
    finished("run", "plan.toml", "--out", "world", cwd=rig.folder)
    rig.coordinator()
    for region in ("cdg", "ord", "syd"):
        rig.worker(region)
    rig.await_workers(3)
    finished("run", "plan.toml", "--coordinator", rig.url, "--out", "own", cwd=rig.folder)
    theirs, ours = medians(rig.folder / "world"), medians(rig.folder / "own")
    assert ours == pytest.approx(theirs, abs=0.3)
    assert len(ours) == 3
