"""fly.toml becomes what the Machines API wants, as flyctl would have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import parse_app_config, read_app_config
from loadtest.fly.machines import Guest, MachineConfig

ROOT = Path(__file__).resolve().parents[2]

FULL = """
app = "shop"
primary_region = "cdg"
kill_signal = "SIGTERM"
kill_timeout = "10s"
colour = "green"

[build]
image = "shop:1"

[deploy]
release_command = "python manage.py 'migrate all'"
release_command_timeout = "1m"

[processes]
web = "gunicorn 'shop:app' -b :8080"
worker = "celery -A shop"

[env]
LEVEL = 3

[http_service]
internal_port = 8080
force_https = true
auto_stop_machines = false
processes = ["web"]
[http_service.concurrency]
type = "requests"
soft_limit = 50
[[http_service.checks]]
path = "/up"
interval = 10000
timeout = "1s"
headers = { Host = "shop.example" }

[[services]]
internal_port = 6379
processes = ["worker"]
[[services.ports]]
port = 6379
[[services.tcp_checks]]
interval = "5s"
restart_limit = 3

[checks.alive]
type = "tcp"
port = 9000
processes = ["worker"]

[[vm]]
size = "performance-2x"
processes = ["worker"]
[[vm]]
memory = "512mb"

[[restart]]
policy = "never"
processes = ["worker"]

[mounts]
source = "data"
destination = "/data"
initial_size = "3gb"
processes = ["worker"]
"""


def parse(text: str) -> AppConfig:
    return parse_app_config(text, Path("shop/fly.toml"))


def test_a_group_gets_its_own_services_checks_size_and_volumes() -> None:
    config = parse(FULL)
    web = config.machine_config("web", image="shop:2", env={"LEVEL": "4"}, metadata={"run": "r"})
    assert web.cmd == ("gunicorn", "shop:app", "-b", ":8080")
    assert web.env == {"LEVEL": "4", "FLY_PROCESS_GROUP": "web", "PRIMARY_REGION": "cdg"}
    assert web.metadata == {
        "fly_platform_version": "v2",
        "fly_process_group": "web",
        "run": "r",
    }
    assert web.guest == Guest("shared", 1, 512)
    assert (web.stop_signal, web.stop_timeout_s, web.restart_policy) == (
        "SIGTERM",
        10,
        "on-failure",
    )
    (service,) = web.services
    assert [(p.port, p.handlers, p.force_https) for p in service.ports] == [
        (80, ("http",), True),
        (443, ("http", "tls"), False),
    ]
    assert (service.concurrency.type, service.concurrency.soft_limit) == ("requests", 50)
    (check,) = service.checks
    assert (check.type, check.path, check.interval_s, check.timeout_s) == ("http", "/up", 10, 1)
    assert check.headers == {"Host": "shop.example"}

    worker = config.machine_config("worker", image="shop:2")
    assert worker.guest == Guest("performance", 2, 4_096)
    assert [service.internal_port for service in worker.services] == [6379]
    assert worker.services[0].checks[0].type == "tcp"
    assert list(worker.checks) == ["alive"]
    assert worker.restart_policy == "no"
    assert [(m.volume, m.path, m.size_gb) for m in worker.mounts] == [("data", "/data", 3)]


def test_the_release_machine_runs_the_command_and_nothing_else() -> None:
    release = parse(FULL).release_config(image="shop:2")
    assert release.cmd == ("python", "manage.py", "migrate all")
    assert release.env["RELEASE_COMMAND"] == "1"
    assert release.env["FLY_PROCESS_GROUP"] == "fly_app_release_command"
    assert (release.services, release.mounts) == ((), ())
    assert release.restart_policy == "no"


def test_unknown_keys_are_ignored_but_listed() -> None:
    assert parse(FULL).unknown == ("colour", "services.tcp_checks.restart_limit")


def test_a_service_without_checks_gets_the_one_of_flyctl() -> None:
    config = parse('app = "a"\n[http_service]\ninternal_port = 80\n')
    (check,) = config.machine_config("app", image="i").services[0].checks
    assert (check.type, check.interval_s, check.timeout_s) == ("tcp", 15, 2)


def test_the_primary_region_of_the_deployment_wins() -> None:
    env = parse(FULL).machine_config("web", image="i", primary_region="ord").env
    assert env["PRIMARY_REGION"] == "ord"


@pytest.mark.parametrize("text", ["processes = []", "[experimental]\ncmd = ['a', 'b c']", ""])
def test_old_forms_are_read(text: str) -> None:
    command = parse(f'app = "a"\n{text}').processes["app"]
    assert command == ("a 'b c'" if "cmd" in text else "")


def test_every_fault_is_told_with_its_key() -> None:
    text = """
kill_signal = "SIGTREM"
kill_timeout = "6m"
[env]
FLY_REGION = "x"
[http_service]
internal_port = 99999
processes = ["nope"]
[[vm]]
size = "tiny"
[checks.a]
type = "script"
[[restart]]
policy = "maybe"
[processes]
app = "say 'no"
"""
    with pytest.raises(PlanError) as caught:
        parse(text)
    told = "\n".join(caught.value.faults)
    for part in (
        'kill_signal: "SIGTREM" is not one of',
        "did you mean SIGTERM?",
        "kill_timeout: 360 is not within",
        "env.FLY_REGION: names beginning with FLY_",
        "http_service.internal_port: 99999 is not a port, 1 to 65535",
        'http_service.processes: group "nope" is not defined; there are: app',
        'vm.size: "tiny" is not one of shared-cpu-1x',
        'checks.a.type: "script"; what is allowed is http or tcp',
        'restart.policy: "maybe"; what is allowed is always, never or on-failure',
        "processes.app: \"say 'no\" is not a command line: a quote ' is not closed",
    ):
        assert part in told
    assert all(fault.startswith("shop/fly.toml: ") for fault in caught.value.faults)


@pytest.mark.parametrize("text", ["app = ", 'app = "a"\nenv = 3', 'app = "a"\nservices = [1]'])
def test_nonsense_is_refused_without_a_traceback(text: str) -> None:
    with pytest.raises(PlanError, match=r"shop/fly\.toml: "):
        parse(text)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        read_app_config(tmp_path / "fly.toml")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "fly").glob("*/fly.toml")), ids=lambda p: p.parent.name
)
def test_our_own_files_hold_no_unknown_key_and_survive_the_api(path: Path) -> None:
    config = read_app_config(path)
    assert config.unknown == ()
    for group in config.processes:
        machine = config.machine_config(group, image=config.image)
        again = MachineConfig.from_json(machine.to_json())
        assert again.to_json() == machine.to_json()
