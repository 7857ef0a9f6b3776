"""
Forms of fly.toml that stand in public repositories, each with the values that flyctl reads.

What is stated follows superfly/flyctl, internal/appconfig: patches.go rewrites old forms,
processgroups.go gives sections to groups, machines.go makes a machine's config of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import parse_app_config
from loadtest.fly.machines import Guest, MachineConfig, Metrics, Mount, Static
from loadtest.fly.port_options import ReplayCache
from loadtest.fly.services import Concurrency, Service


class Form(NamedTuple):
    """A file, what is asked of it, and what must come of that."""

    text: str
    ask: Callable[[AppConfig], Any]
    told: Any


def machine(config: AppConfig, group: str = "app") -> MachineConfig:
    return config.machine_config(group, image="i")


def service(config: AppConfig, group: str = "app") -> Service:
    (found,) = machine(config, group).services
    return found


def start(config: AppConfig, group: str = "app") -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    made = machine(config, group)
    return made.entrypoint, made.cmd, made.exec_form


def times(config: AppConfig) -> list[tuple[float, float, float]]:
    return [(c.interval_s, c.timeout_s, c.grace_period_s) for c in service(config).checks]


OF_2022 = """
app = "clinic-web"
kill_signal = "SIGINT"
kill_timeout = 5
processes = []

[build]
  image = "registry.example/clinic:1"

[env]
  PORT = 8080

[experimental]
  allowed_public_ports = []
  auto_rollback = true

[[services]]
  http_checks = []
  internal_port = 8080
  processes = ["app"]
  protocol = "tcp"
  script_checks = []

  [services.concurrency]
    hard_limit = 25
    soft_limit = 20
    type = "connections"

  [[services.ports]]
    force_https = true
    handlers = ["http"]
    port = 80

  [[services.ports]]
    handlers = ["tls", "http"]
    port = 443

  [[services.tcp_checks]]
    grace_period = "1s"
    interval = "15s"
    restart_limit = 0
    timeout = "2s"
"""

WORKER_OF_2022 = """
app = "clinic-worker-production"
kill_signal = "SIGTERM"
kill_timeout = "30s"
processes = []

[experimental]
  allowed_public_ports = []
  cmd = ["python", "-m", "clinic.worker"]
"""

PHOENIX = """
app = 'chat'
primary_region = 'ord'
kill_signal = 'SIGTERM'

[build]

[deploy]
  release_command = '/app/bin/migrate'

[env]
  PHX_HOST = 'chat.fly.dev'
  PORT = '8080'

[http_service]
  internal_port = 8080
  force_https = true
  auto_stop_machines = 'stop'
  auto_start_machines = true
  min_machines_running = 0
  processes = ['app']

  [http_service.concurrency]
    type = 'connections'
    hard_limit = 1000
    soft_limit = 1000

[[vm]]
  memory = '1gb'
  cpu_kind = 'shared'
  cpus = 1
"""

RAILS = """
app = "shop"
primary_region = "ams"
console_command = "/rails/bin/rails console"

[build]
  dockerfile = "Dockerfile"
  build-target = "deploy"
  [build.args]
    RUBY_VERSION = "3.3.0"
    JOBS = 4

[deploy]
  release_command = "./bin/rails db:prepare"
  [deploy.release_command_vm]
    size = "performance-2x"

[processes]
  web = "bundle exec puma -C config/puma.rb"
  sidekiq = "bundle exec sidekiq"

[http_service]
  internal_port = 3000
  processes = ["web"]
  [[http_service.checks]]
    path = "/up"
    headers = { X-Forwarded-Proto = "https" }

[[statics]]
  guest_path = "/rails/public"
  url_prefix = "/"

[checks.alive]
  type = "http"
  path = "/up"
  processes = ["web"]
"""

THREE_GROUPS = """
app = "a"
[processes]
zeta = "z"
beta = "b"
alpha = "a"
[http_service]
internal_port = 80
[checks.up]
type = "tcp"
port = 80
[mounts]
source = "d"
destination = "/d"
[[restart]]
policy = "always"
[[metrics]]
port = 9091
path = "/metrics"
[[files]]
guest_path = "/etc/motd"
raw_value = "hi"
"""

SIZES = """
app = "a"
[processes]
app = ""
worker = "w"
big = "b"
[[vm]]
memory = "64gb"
cpus = 4
processes = ["big"]
[[compute]]
size = "performance-1x"
processes = ["worker"]
[[vm]]
size = "shared-cpu-2x"
"""

HEADERS = """
app = "a"
[http_service]
internal_port = 80
[http_service.tls_options]
alpn = ["h2"]
versions = ["TLSv1.3"]
[http_service.http_options]
compress = true
idle_timeout = 600
[http_service.http_options.response]
pristine = true
[http_service.http_options.response.headers]
fly-request-id = false
x-frame-options = "DENY"
x-many = ["a", "b"]
[[http_service.http_options.replay_cache]]
path_prefix = "/"
ttl_seconds = 60
type = "cookie"
name = "session"
"""

FORMS = {
    "a web app of 2022": Form(
        OF_2022,
        lambda c: (
            service(c).internal_port,
            [(p.port, p.handlers, p.force_https) for p in service(c).ports],
            service(c).concurrency,
            times(c),
            machine(c).env["PORT"],
            machine(c).stop_timeout_s,
        ),
        (
            8080,
            [(80, ("http",), True), (443, ("tls", "http"), False)],
            Concurrency("connections", 20, 25),
            [(15, 2, 1)],
            "8080",
            5,
        ),
    ),
    "a worker of 2022, without services": Form(
        WORKER_OF_2022,
        lambda c: (c.processes, start(c), machine(c).services, machine(c).stop_timeout_s),
        (
            {"app": "python -m clinic.worker"},
            ((), ("python", "-m", "clinic.worker"), False),
            (),
            30,
        ),
    ),
    "what fly launch writes for Phoenix": Form(
        PHOENIX,
        lambda c: (
            c.release_command,
            service(c).autostop,
            service(c).concurrency,
            machine(c).guest,
            start(c),
        ),
        (
            "/app/bin/migrate",
            "stop",
            Concurrency("connections", 1000, 1000),
            Guest("shared", 1, 1024),
            ((), (), False),
        ),
    ),
    "what fly launch writes for Rails": Form(
        RAILS,
        lambda c: (
            c.default_group,
            c.build.target,
            c.build.args,
            c.release_config(image="i").guest,
            service(c, "web").checks[0].headers,
            machine(c, "sidekiq").services,
            machine(c, "web").checks["alive"].port,
            machine(c, "web").statics,
        ),
        (
            "sidekiq",
            "deploy",
            {"RUBY_VERSION": "3.3.0", "JOBS": "4"},
            Guest("performance", 2, 4096),
            {"X-Forwarded-Proto": "https"},
            (),
            3000,
            (Static("/rails/public", "/"),),
        ),
    ),
    "no app": Form('primary_region = "cdg"', lambda c: (c.name, c.primary_region), ("", "cdg")),
    "an empty app": Form('app = ""', lambda c: (c.name, dict(c.processes)), ("", {"app": ""})),
    "nothing at all": Form("", lambda c: (start(c), machine(c).guest), (((), (), False), Guest())),
    "entry point and command of experimental": Form(
        '[experimental]\nentrypoint = "sh"\ncmd = "start.sh"',
        start,
        ((), ("sh", "start.sh"), True),
    ),
    "an entry point alone keeps the image's command": Form(
        '[experimental]\nentrypoint = ["sh", "-c"]', start, (("sh", "-c"), (), False)
    ),
    "text in experimental is one word": Form(
        '[experimental]\ncmd = "run all"', start, ((), ("run all",), False)
    ),
    "exec leaves commands out": Form(
        '[experimental]\nexec = ["/bin/app", "x"]\nentrypoint = "e"\n[processes]\napp = "other"',
        start,
        ((), ("/bin/app", "x"), True),
    ),
    "a process comes before experimental's command": Form(
        '[experimental]\ncmd = ["c"]\n[processes]\napp = "p q"\nidle = ""',
        lambda c: (start(c)[1], start(c, "idle")[1]),
        (("p", "q"), ("c",)),
    ),
    "experimental's metrics and kill_timeout": Form(
        "[experimental]\nkill_timeout = 3\nmetrics_port = 9000\nmetrics_path = '/m'",
        lambda c: (c.kill_timeout_s, machine(c).metrics),
        (3, Metrics(9000, "/m")),
    ),
    "the release command goes through the entry point": Form(
        '[experimental]\nentrypoint = "e"\nexec = "x"\n[deploy]\nrelease_command = "up \'a b\'"',
        lambda c: (c.release_config(image="i").cmd, c.release_config(image="i").exec_form),
        (("e", "up", "a b"), True),
    ),
    "values of env are text as Go prints it": Form(
        "[env]\nT = true\nN = 123\nF = 2.50\nB = 1e21\nS = 1e-7\nL = [1, 'a']\nD = 2024-01-02",
        lambda c: c.env,
        {
            "T": "true",
            "N": "123",
            "F": "2.5",
            "B": "1e+21",
            "S": "1e-07",
            "L": "[1 a]",
            "D": "2024-01-02",
        },
    ),
    "several [[env]]": Form(
        '[[env]]\nA = "1"\nB = "1"\n[[env]]\nB = 2', lambda c: c.env, {"A": "1", "B": "2"}
    ),
    "processes as a list": Form(
        '[[processes]]\nname = "web"\ncommand = "w"\n[[processes]]\nname = "idle"',
        lambda c: c.processes,
        {"web": "w", "idle": ""},
    ),
    "processes as a list without names": Form(
        "[[processes]]\n", lambda c: c.processes, {"app": ""}
    ),
    "an empty [processes]": Form("[processes]", lambda c: c.processes, {"app": ""}),
    "a comment and quotes in a command": Form(
        '[processes]\napp = \'sh -c "a \\"b\\"" # why\'',
        lambda c: start(c)[1],
        ("sh", "-c", 'a "b"'),
    ),
    "sections without processes belong to the first group by name": Form(
        THREE_GROUPS,
        lambda c: [
            (
                group,
                len(made.services),
                list(made.checks),
                made.mounts,
                made.restart_policy,
                made.metrics,
                [(f.path, f.content) for f in made.files],
            )
            for group in ("zeta", "beta", "alpha")
            for made in [machine(c, group)]
        ],
        [
            ("zeta", 0, [], (), "on-failure", None, []),
            ("beta", 0, [], (), "on-failure", None, []),
            (
                "alpha",
                1,
                ["up"],
                (Mount("d", "/d"),),
                "always",
                Metrics(9091, "/metrics"),
                [("/etc/motd", "aGk=")],
            ),
        ],
    ),
    "sections without processes belong to app where there is one": Form(
        '[processes]\nalpha = "a"\napp = "b"\n[http_service]\ninternal_port = 80\nprocesses = []',
        lambda c: (len(machine(c, "alpha").services), len(machine(c, "app").services)),
        (0, 1),
    ),
    "[[vm]] without processes is for all, [[compute]] is [[vm]]": Form(
        SIZES,
        lambda c: [machine(c, group).guest for group in ("app", "worker", "big")],
        [
            Guest("shared", 2, 512),
            Guest("performance", 1, 2048),
            Guest("shared", 4, 65_536),
        ],
    ),
    "a single [vm] with a bare number": Form(
        "[vm]\nmemory = 512", lambda c: machine(c).guest, Guest("shared", 1, 512)
    ),
    "memory_mb comes before memory": Form(
        '[[vm]]\nsize = "shared-cpu-1x"\nmemory = "1.5gb"\nmemory_mb = 2048',
        lambda c: machine(c).guest.memory_mb,
        2048,
    ),
    "memory in halves": Form(
        '[[vm]]\nmemory = "1.5 GiB"', lambda c: machine(c).guest.memory_mb, 1536
    ),
    "a GPU preset": Form(
        '[[vm]]\nsize = "a100-40gb"',
        lambda c: machine(c).guest,
        Guest("performance", 8, 32_768, "a100-pcie-40gb", 1),
    ),
    "a kind of GPU without a preset": Form(
        '[[vm]]\ngpu_kind = "l40s"\nmemory = "64gb"',
        lambda c: machine(c).guest,
        Guest("performance", 8, 65_536, "l40s", 1),
    ),
    "the strings of 2020": Form(
        '[[services]]\ninternal_port = "8081"\nconcurrency = "12,23"\nauto_stop_machines = false\n'
        '[[services.ports]]\nport = "80"\nhandlers = ["http"]',
        lambda c: (
            service(c).internal_port,
            service(c).concurrency,
            service(c).autostop,
            [p.port for p in service(c).ports],
        ),
        (8081, Concurrency("requests", 12, 23), "off", [80]),
    ),
    "durations of checks: milliseconds, text, empty": Form(
        "[[services]]\ninternal_port = 80\n[[services.tcp_checks]]\ninterval = 10000\n"
        'timeout = "1m30s"\ngrace_period = ""\n[[services.http_checks]]\ninterval = "20s"',
        times,
        [(10, 90, 1), (20, 2, 1)],
    ),
    "headers of a check as a list": Form(
        "[[services]]\n[[services.http_checks]]\n"
        '[[services.http_checks.headers]]\nname = "Origin"\nvalue = "http://a"\n'
        '[[services.http_checks.headers]]\nname = "N"\nvalue = 1',
        lambda c: service(c).checks[0].headers,
        {"Origin": "http://a", "N": "1"},
    ),
    "an empty [[services]]": Form("[[services]]\n", lambda c: c.services, ()),
    "[[services]] without a port of its own": Form(
        '[[services]]\nprotocol = "tcp"', lambda c: service(c).internal_port, 8080
    ),
    "an empty [http_service]": Form("[http_service]", lambda c: service(c).internal_port, 8080),
    "limits of [services] beside [http_service]": Form(
        "[http_service]\ninternal_port = 80\n[services.concurrency]\nhard_limit = 9",
        lambda c: [(s.internal_port, s.concurrency) for s in machine(c).services],
        [(80, Concurrency()), (8080, Concurrency("connections", 9, 9))],
    ),
    "machines that start and stop, in words": Form(
        '[http_service]\nauto_stop_machines = "suspend"\nauto_start_machines = "false"',
        lambda c: (service(c).autostop, service(c).autostart),
        ("suspend", False),
    ),
    "machines that start and stop, in booleans": Form(
        "[http_service]\nauto_stop_machines = true\nauto_start_machines = false",
        lambda c: (service(c).autostop, service(c).autostart),
        ("stop", False),
    ),
    "checks as a list": Form(
        '[[checks]]\nname = "pg"\ntype = "http"\nport = 5500\npath = "/flycheck/pg"',
        lambda c: [(n, k.port, k.path) for n, k in machine(c).checks.items()],
        [("pg", 5500, "/flycheck/pg")],
    ),
    "a volume of old, its bare size in GB": Form(
        '[mount]\nsource = "data"\ndestination = "/data"\ninitial_size = 200',
        lambda c: machine(c).mounts,
        (Mount("data", "/data", 200),),
    ),
    "a volume in text": Form(
        '[[mounts]]\nsource = "data"\ndestination = "/data"\ninitial_size = "30gb"',
        lambda c: machine(c).mounts,
        (Mount("data", "/data", 30),),
    ),
    "the last [[restart]] of a group holds": Form(
        '[[restart]]\npolicy = "always"\n[[restart]]\npolicy = "never"\nretries = 3',
        lambda c: (machine(c).restart_policy, machine(c).max_retries),
        ("no", 3),
    ),
    "headers, compression and replays at the edge": Form(
        HEADERS,
        lambda c: [
            (
                p.port,
                p.http.compress,
                p.http.pristine,
                p.http.idle_timeout_s,
                p.http.response_headers,
                p.http.replay_cache,
                p.tls.alpn,
            )
            for p in service(c).ports
        ],
        [
            (
                port,
                True,
                True,
                600,
                {"fly-request-id": False, "x-frame-options": "DENY", "x-many": ("a", "b")},
                (ReplayCache("/", 60, "cookie", "session"),),
                alpn,
            )
            for port, alpn in ((80, ()), (443, ("h2",)))
        ],
    ),
    "a range of ports and the PROXY protocol": Form(
        "[[services]]\ninternal_port = 5000\n[[services.ports]]\nstart_port = 100\nend_port = 200\n"
        '[[services.ports]]\nport = 82\nhandlers = ["proxy_proto"]\n'
        'proxy_proto_options = { version = "v2" }',
        lambda c: [(p.port, p.end_port, p.proxy_proto_version) for p in service(c).ports],
        [(100, 200, ""), (82, None, "v2")],
    ),
    "a stage under its old name": Form(
        '[build]\nbuild_target = "final"', lambda c: c.build.target, "final"
    ),
    "a composition": Form(
        '[build]\ncompose.file = "compose.yml"', lambda c: c.build.compose, "compose.yml"
    ),
    "swap and a long end on CPUs of its own": Form(
        'swap_size_mb = 512\nkill_timeout = "1h"\n[[vm]]\nsize = "performance-1x"',
        lambda c: (machine(c).swap_mb, machine(c).stop_timeout_s),
        (512, 3_600),
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_public_form_is_read_as_flyctl_reads_it(form: Form) -> None:
    assert form.ask(parse_app_config(form.text, Path("fly.toml"))) == form.told


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_is_read_survives_the_api(form: Form) -> None:
    config = parse_app_config(form.text, Path("fly.toml"))
    for group in config.processes:
        made = machine(config, group)
        again = MachineConfig.from_json(made.to_json())
        assert again.to_json() == made.to_json()
        assert (again.cmd, again.entrypoint, again.exec_form) == (
            made.cmd,
            made.entrypoint,
            made.exec_form,
        )
