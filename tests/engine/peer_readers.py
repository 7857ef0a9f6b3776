"""What curl, Go, urllib3 and Node make of answers that a server gives byte for byte."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import urllib3
from odd_answers import Answer

_GO = """
package main
import ("encoding/json"; "io"; "net/http"; "os"; "time")
func main() {
  redirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
  transport := &http.Transport{MaxResponseHeaderBytes: 1 << 20, DisableCompression: true}
  client := &http.Client{Timeout: 3 * time.Second, Transport: transport, CheckRedirect: redirect}
  found := []any{}
  for i := 1; i + 1 < len(os.Args); i += 2 {
    request, _ := http.NewRequest(os.Args[i], os.Args[i+1], nil)
    response, err := client.Do(request)
    if err != nil { found = append(found, nil); continue }
    body, err := io.ReadAll(response.Body)
    response.Body.Close()
    if err != nil { found = append(found, nil) } else { found = append(found, string(body)) }
  }
  json.NewEncoder(os.Stdout).Encode(found)
}
"""
_NODE = """
const http = require('http');
const words = process.argv.slice(1), found = [];
function next(i) {
  if (i + 1 >= words.length) { console.log(JSON.stringify(found)); process.exit(0); }
  let told = false;
  const say = (what) => { if (!told) { told = true; found.push(what); next(i + 2); } };
  const options = {method: words[i], agent: false, maxHeaderSize: 1 << 20};
  const request = http.request(words[i + 1], options, (response) => {
    const pieces = [];
    response.on('data', (piece) => pieces.push(piece));
    response.on('end', () => say(Buffer.concat(pieces).toString('latin1')));
    response.on('error', () => say(null));
    response.on('aborted', () => say(null));
  });
  request.on('error', () => say(null));
  request.on('upgrade', () => say(null));
  request.setTimeout(3000, () => { request.destroy(); say(null); });
  request.end();
}
next(0);
"""


class AnswerServer:
    """Gives every request the answer that its path names by number, and closes."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # a reader may keep a connection open that it has read to its end
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(1)
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            number = int(data.split()[1].strip(b"/"))
            connection.sendall(self._answers[number].raw)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # the peer has seen enough

    def __enter__(self) -> AnswerServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


Reader = Callable[[int, Sequence[Answer]], list[bytes | None]]


def _method(answer: Answer) -> str:
    return "HEAD" if answer.head else "GET"


def _words(port: int, answers: Sequence[Answer]) -> list[str]:
    pairs = [(_method(answer), f"http://127.0.0.1:{port}/{n}") for n, answer in enumerate(answers)]
    return [word for pair in pairs for word in pair]


def read_with_curl(port: int, answers: Sequence[Answer]) -> list[bytes | None]:
    """Of every answer the body, or None where curl refuses it."""
    found: list[bytes | None] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(found) < len(answers):  # an error of its own ends curl in mid-list
            left = [(n, answers[n]) for n in range(len(found), len(answers))]
            for (number, answer), code in zip(left, _curl(port, folder, left), strict=False):
                body = Path(folder, str(number))
                read = b"" if answer.head or not body.exists() else body.read_bytes()
                found.append(None if code != "0" else read)
    return found


def _curl(port: int, folder: str, answers: Sequence[tuple[int, Answer]]) -> list[str]:
    """Return curl's exit codes, at least one."""
    words = ["curl"]
    for number, answer in answers:
        words += ["--next"] if len(words) > 1 else []
        words += ["-I"] if answer.head else []
        words += ["-q", "-s", "-m", "3", "-o", "/dev/null" if answer.head else f"{folder}/{number}"]
        words += ["-w", "%{exitcode}\n", f"http://127.0.0.1:{port}/{number}"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    codes = told.stdout.split()
    assert codes, told.stderr
    return codes


def read_with_urllib3(port: int, answers: Sequence[Answer]) -> list[bytes | None]:
    """Of every answer the body, or None where urllib3 refuses it."""
    found: list[bytes | None] = []
    for number, answer in enumerate(answers):
        url = f"http://127.0.0.1:{port}/{number}"
        with urllib3.PoolManager(retries=False, timeout=3) as pool:
            try:
                found.append(pool.request(_method(answer), url).data)
            except (urllib3.exceptions.HTTPError, ValueError, OverflowError):
                found.append(None)
    return found


def read_with_node(port: int, answers: Sequence[Answer]) -> list[bytes | None]:
    """Of every answer the body, or None where Node refuses it."""
    return _told(["node", "-e", _NODE, *_words(port, answers)])


def read_with_go(port: int, answers: Sequence[Answer]) -> list[bytes | None]:
    """Of every answer the body, or None where Go refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.go").write_text(_GO)
        return _told(["go", "run", f"{folder}/main.go", *_words(port, answers)])


def _told(command: list[str]) -> list[bytes | None]:
    told = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    bodies: list[str | None] = json.loads(told.stdout)
    return [None if body is None else body.encode("latin-1") for body in bodies]


READERS: dict[str, Reader] = {
    "curl": read_with_curl,
    "Go": read_with_go,
    "urllib3": read_with_urllib3,
    "Node": read_with_node,
}


def version_of(peer: str) -> str:
    """Return the version of a peer; empty where it is not installed."""
    if peer == "urllib3":  # it reads heads as Python's own http.client does, another from 3.14 on
        before = sys.version_info < (3, 14)
        return urllib3.__version__ if before else f"{urllib3.__version__} of Python 3.14"
    command = {"curl": ["curl", "--version"], "Go": ["go", "version"], "Node": ["node", "-v"]}[peer]
    if shutil.which(command[0]) is None:
        return ""
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", told)
    return found[0] if found else ""


def read_with(peer: str, answers: Sequence[Answer]) -> list[bytes | None]:
    """Have a peer read the answers."""
    with AnswerServer(answers) as server:
        return READERS[peer](server.port, answers)
