"""Images for tests: layers, layouts and archives, and a program that needs nothing around it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.world.images.config import this_architecture

HERE = this_architecture()

PROGRAM = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int describe(char *text, size_t room) {
    char host[80] = "", folder[200] = "";
    gethostname(host, sizeof host - 1);
    getcwd(folder, sizeof folder - 1);
    const char *greeting = getenv("GREETING"), *home = getenv("HOME");
    FILE *file = fopen("/tmp/note", "w");
    return snprintf(text, room, "uid=%d gid=%d host=%s cwd=%s greeting=%s home=%s note=%d null=%d",
                    getuid(), getgid(), host, folder, greeting ? greeting : "", home ? home : "",
                    file != NULL, access("/dev/null", W_OK) == 0);
}

int main(int count, char **words) {
    char text[900], answer[1200], request[4000];
    if (count > 1 && strcmp(words[1], "step-down") == 0) {
        printf("chown=%d ", chown("/tmp", 1234, 1234));
        printf("setgid=%d ", setgid(1234));
        printf("setuid=%d ", setuid(1234));
    }
    if (count < 2 || strcmp(words[1], "serve") != 0) {
        describe(text, sizeof text);
        puts(text);
        return 0;
    }
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(8080)};
    int server = socket(AF_INET6, SOCK_STREAM, 0), yes = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64)) return 1;
    for (;;) {
        int peer = accept(server, NULL, NULL);
        if (read(peer, request, sizeof request) > 0) {
            int size = describe(text, sizeof text);
            int whole = snprintf(answer, sizeof answer,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s", size, text);
            if (write(peer, answer, whole) < 0) return 1;
        }
        close(peer);
    }
}
"""


def build_program(folder: Path) -> bytes | None:
    """Return a static program that tells of itself, or serves that; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / "program.c").write_text(PROGRAM)
    words = [compiler, "-static", "-O1", "-o", str(folder / "program"), str(folder / "program.c")]
    done = subprocess.run(words, capture_output=True, check=False)
    return (folder / "program").read_bytes() if done.returncode == 0 else None


def entry(name: str, content: bytes | None = None, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return an entry of a layer: a file with content, a folder without, or what ``more`` says."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
    info.mode = 0o755
    info.size = len(content or b"")
    for key, value in more.items():
        setattr(info, key, value)
    return info, content or b""


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a layer's plain tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """Return a digest as images write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image_document(layers: Sequence[bytes], config: Mapping[str, Any], **more: Any) -> bytes:
    """Return an image's configuration."""
    rootfs = {"type": "layers", "diff_ids": [digest(data) for data in layers]}
    document = {"architecture": HERE, "os": "linux", "config": config, "rootfs": rootfs, **more}
    return json.dumps(document).encode()


def write_layout(
    folder: Path,
    layers: Sequence[bytes],
    config: Mapping[str, Any],
    *,
    compress: Callable[[bytes], bytes] = gzip.compress,
    **more: Any,
) -> Path:
    """Write an OCI layout and return its folder."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes) -> dict[str, Any]:
        (blobs / digest(data).removeprefix("sha256:")).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": blob(image_document(layers, config, **more)),
        "layers": [blob(compress(data)) for data in layers],
    }
    where = {"os": "linux", "architecture": more.get("architecture", HERE)}
    attestation = {**blob(b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}}
    image = {**blob(json.dumps(manifest).encode()), "platform": where}
    index = {"schemaVersion": 2, "manifests": [image, attestation]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def write_saved(path: Path, layers: Sequence[bytes], config: Mapping[str, Any]) -> Path:
    """Write what ``docker save`` wrote before it wrote layouts, and return its path."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    document = image_document(layers, config)
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [], "Layers": names}]).encode()
    files = {
        "config.json": document,
        "manifest.json": manifest,
        **dict(zip(names, layers, strict=True)),
    }
    path.write_bytes(layer(*(entry(f"./{name}", data) for name, data in files.items())))
    return path
