"""HTTP/2 with the servers that people run: Node's http2 and Go's net/http, over TLS by ALPN."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import trustme
from client_servers import client_of

pytestmark = pytest.mark.contract

_GO = """
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

func main() {
	var resets atomic.Int32
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "hello %d", len(body))
	})
	http.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 3000000))
	})
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		resets.Add(1)
	})
	http.HandleFunc("/resets", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, resets.Load())
	})
	http.HandleFunc("/bye", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // over HTTP/2 a GOAWAY
		fmt.Fprint(w, "bye")
	})
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.ServeTLS(listener, nil, os.Args[1], os.Args[2])
}
"""
_NODE = """
const http2 = require('http2'), fs = require('fs');
const [cert, key] = process.argv.slice(1).map((file) => fs.readFileSync(file));
let resets = 0;
const server = http2.createSecureServer({ cert, key });
server.on('stream', (stream, headers) => {
  const path = headers[':path'];
  stream.on('error', () => {});
  if (path === '/slow') return stream.on('aborted', () => { resets += 1; });
  let size = 0;
  stream.on('data', (part) => { size += part.length; });
  stream.on('end', () => {
    stream.respond({ ':status': 200 });
    if (path === '/bye') stream.session.goaway(0, stream.id);
    const texts = { '/big': 'x'.repeat(3000000), '/resets': `${resets}`, '/bye': 'bye' };
    stream.end(texts[path] || `hello ${size}`);
  });
  stream.resume();
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


def go_command(folder: Path) -> list[str]:
    source, program = folder / "main.go", folder / "server"
    source.write_text(_GO)
    words = ["go", "build", "-o", str(program), str(source)]
    subprocess.run(words, check=True, timeout=60)
    return [str(program)]


def node_command(_folder: Path) -> list[str]:
    return ["node", "-e", _NODE]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return folder


@pytest.fixture(params=[("go", go_command), ("node", node_command)], ids=lambda param: param[0])
def url(request: pytest.FixtureRequest, certificates: Path, tmp_path: Path) -> Iterator[str]:
    name: str
    command: Callable[[Path], list[str]]
    name, command = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    words = [*command(tmp_path), *(str(certificates / f) for f in ("cert.pem", "key.pem"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"https://localhost:{int(process.stdout.readline())}"
        finally:
            process.kill()


def test_streams_bodies_resets_and_farewells(url: str, certificates: Path) -> None:
    """A time-out costs its stream, not the connection; a farewell costs the connection alone."""
    with client_of(url, ca_file=str(certificates / "ca.pem")) as (client, samples):
        assert client.get("/").text == "hello 0"
        assert client.post("/", data=b"y" * 400_000).text == "hello 400000"
        assert client.head("/").status_code == 200
        assert client.get("/big").ok
        assert client.get("/slow", timeout=0.1).error == "read-timeout"
        (connection,) = client._place.idle
        with gevent.Timeout(10):
            while not connection.ready():  # its sign of life has not come yet
                gevent.sleep(0.002)
            while (answer := client.get("/resets")).text != "1":
                assert answer.ok
        assert client.get("/bye").text == "bye"
        assert client.get("/").text == "hello 0"
    assert {sample.protocol for sample in samples} == {"2"}
    assert samples[3].bytes > 3_000_000
    reused = [sample.reused for sample in samples]
    assert reused[0] is reused[-1] is False
    assert all(reused[1:-1])
