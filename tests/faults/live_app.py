"""An app of a few lines, two arms of it in a world of three regions, and what one of them does."""

from __future__ import annotations

APP = r"""
import os, signal, socket, subprocess, sys, threading, time

HOW, HERE = os.environ["HOW"], os.environ["FLY_REGION"] == "ord"
BEGAN = time.monotonic()


def answer(connection, status="200 OK", body=b"hello", more=""):
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode("latin-1") + body)


def behave(connection):
    if HOW == "500":
        answer(connection, "500 Oops")
    elif HOW == "hangs":
        time.sleep(1000)
    elif HOW == "exits":
        os._exit(3)
    elif HOW == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif HOW == "is slow":
        time.sleep(0.3)
        answer(connection)
    elif HOW == "freezes":
        if (at := time.time() % 4) < 1:
            time.sleep(1 - at)
        answer(connection)
    elif HOW.startswith("replays to "):
        answer(connection, "409 Conflict", more=f"fly-replay: {HOW[11:]}\r\n")
    elif HOW == "sends escapes":
        odd = 'Fly-Region: \x1b[31m\xff<b>\r\nServer-Timing: db;desc="\x1b[31m<script>";dur=9\r\n'
        answer(connection, "500 \x1b[2J", b"", odd)
    elif HOW == "prints":
        print(("x\x1b[2J" * 1000 + "\n") * 100, flush=True)
        answer(connection)
    elif HOW == "listens no more":
        LISTENER.close()
        answer(connection, more="Connection: close\r\n")
        raise OSError
    elif HOW == "sends 30 MB":
        answer(connection, body=b"x" * 30_000_000)
    else:
        answer(connection)


def speak(connection):
    pending = b""
    with connection:
        try:
            while True:
                while b"\r\n\r\n" not in pending:
                    if not (data := connection.recv(65_536)):
                        return
                    pending += data
                pending = pending.partition(b"\r\n\r\n")[2]
                if HERE and time.monotonic() - BEGAN > 5:
                    behave(connection)
                else:
                    answer(connection)
        except OSError:
            pass


if HERE and HOW == "ends at its start":
    sys.exit("no such table: pages")
if HERE and HOW == "leaves children":
    subprocess.Popen(["sleep", "5000"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(5000)
        os._exit(0)
if HOW == "is deaf":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
host = "127.0.0.1" if HERE and HOW == "hears itself alone" else ""
LISTENER = socket.create_server((host, int(os.environ["PORT"])), backlog=256)
while True:
    try:
        connection, _ = LISTENER.accept()
    except OSError:
        time.sleep(1)
        continue
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=speak, args=(connection,), daemon=True).start()
"""

FLY_TOML = """\
app = "tiny"

[processes]
app = "python3 app.py"

[http_service]
internal_port = 8080
processes = ["app"]
"""

APP_PLAN = """\
schema = 1
name = "tiny"
regions = ["cdg", "ord", "syd"]
primary_region = "cdg"
scenario = "scenarios/pages.py"
paths = ["/"]
base = "0"
{rules}

[load]
rate = 12
duration_s = 12
warmup_s = 1
block_s = 0.5
timeout_s = 2
users = 16

[network]
rtt = "neutral"

[database]
fly_toml = ""

[gate]
max_looks = 1

[[deployments]]
name = "candidate"
fly_toml = "fly.toml"
env = {{ HOW = "{candidate}" }}

[[deployments]]
name = "base"
fly_toml = "fly.toml"
env = {{ HOW = "{base}" }}
"""
"""In ord, from its sixth second on, an arm does what ``HOW`` says; elsewhere all is well."""
