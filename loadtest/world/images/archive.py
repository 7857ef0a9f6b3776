"""
An image as a file or a folder: an OCI layout, the tar of one, or what ``docker save`` writes.

Source: OCI image specification, "Image Layout" and "Image Manifest"; Docker image specification
v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import re
import sys
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from loadtest.errors import PlanError
from loadtest.world.images.config import ImageConfig, read_image_config, this_architecture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MOST_DOCUMENT_BYTES = 8 << 20
_DEEPEST_INDEX = 4
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

UNREADABLE = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading a damaged archive raises, before it is a sentence."""


class ImageArchive:
    """
    The content of an image; a context manager.

    Args:
        path: A folder or a tar file.

    Attributes:
        config: How its program starts.

    Raises:
        PlanError: It cannot be read, holds no image, or several, or one for another machine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar: tarfile.TarFile | None = None
        self._opened = ExitStack()
        try:
            self._read()
        except UNREADABLE as error:
            self.close()
            raise PlanError(f"image {path}: cannot be read: {error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ImageArchive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and every layer of it."""
        self._opened.close()

    def layers(self) -> list[LayerReader]:
        """
        Return a reader of each layer's plain tar, the lowest first; they close with the archive.

        Raises:
            PlanError: One of them is missing.
        """
        try:
            return [
                LayerReader(plain(self._opened.enter_context(self._open(name))), digest)
                for name, digest in zip(self._layers, self.config.layers, strict=True)
            ]
        except (*UNREADABLE, zstd.ZstdError) as error:
            raise PlanError(f"image {self.path}: a layer cannot be read: {error}") from error

    def _read(self) -> None:
        where = f"image {self.path}"
        if not self.path.is_dir():
            tar = tarfile.open(self.path)  # noqa: SIM115 - closed with this object
            self._tar = self._opened.enter_context(tar)
            # `tar -C layout .` writes names that begin with ./
            self._members = {m.name.removeprefix("./"): m for m in self._tar if m.isreg()}
        if self._has("manifest.json"):  # docker save; since Docker 25 an OCI layout as well
            config, self._layers = self._saved(where)
        elif self._has("index.json"):
            config, self._layers = self._layout(where)
        else:
            raise PlanError(
                f"{where}: neither an OCI layout nor what `docker save` writes: it has no "
                "index.json and no manifest.json"
            )
        self.config: ImageConfig = read_image_config(config, where)
        if len(self.config.layers) != len(self._layers):
            raise PlanError(
                f"{where}: its configuration speaks of {len(self.config.layers)} layers, its "
                f"manifest of {len(self._layers)}"
            )

    def _saved(self, where: str) -> tuple[object, list[str]]:
        entries = self._json("manifest.json", list)
        if len(entries) != 1:
            raise PlanError(f"{where}: holds {len(entries)} images; save one")
        entry = _table(entries[0])
        layers = [_name(text) for text in _list(entry.get("Layers") or [])]
        return self._json(_name(entry.get("Config")), dict), layers

    def _layout(self, where: str) -> tuple[object, list[str]]:
        found: Mapping[str, object] = self._json("index.json", dict)
        here = this_architecture()
        for _ in range(_DEEPEST_INDEX):
            if "manifests" not in found:
                break
            entries = [_table(entry) for entry in _list(found["manifests"])]
            fitting = {str(e.get("digest")): e for e in entries if _fits(e, here)}
            if len(fitting) != 1:
                raise PlanError(
                    f"{where}: holds {len(fitting)} images for linux/{here}; one is wanted"
                )
            found = self._blob(next(iter(fitting)))
        layers = [_blob_name(_table(layer).get("digest")) for layer in _list(found.get("layers"))]
        return self._blob(_table(found.get("config")).get("digest")), layers

    def _blob(self, digest: object) -> dict[str, object]:
        """Return a document whose name is its SHA-256."""
        data = self._bytes(name := _blob_name(digest))
        if hashlib.sha256(data).hexdigest() != name.rpartition("/")[2]:
            raise ValueError(f"{digest} is not what it says")
        return _table(json.loads(data))

    def _json(self, name: str, kind: type[Any]) -> Any:
        document = json.loads(self._bytes(name))
        if not isinstance(document, kind):
            raise ValueError(f"{name} holds no {kind.__name__}")
        return document

    def _bytes(self, name: str) -> bytes:
        with self._open(name) as file:
            data = file.read(_MOST_DOCUMENT_BYTES + 1)
        if len(data) > _MOST_DOCUMENT_BYTES:
            raise ValueError(f"{name} has more than {_MOST_DOCUMENT_BYTES} bytes")
        return data

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file() if self._tar is None else name in self._members

    def _open(self, name: str) -> io.BufferedReader:
        if self._tar is None:
            return (self.path / name).open("rb")
        file = self._tar.extractfile(self._members[name]) if name in self._members else None
        if file is None:
            raise ValueError(f"{name} is missing")
        return cast(io.BufferedReader, file)


class LayerReader(io.RawIOBase):
    """
    A layer's plain tar, which tells at its end whether it was what the image says.

    Args:
        source: The tar, unpacked.
        digest: ``sha256:`` and its hash.
    """

    def __init__(self, source: BinaryIO, digest: str) -> None:
        self._source = source
        self._digest = digest
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        return len(data)

    def verify(self) -> None:
        """
        Read what is left, and compare.

        Raises:
            ValueError: The layer is not the one that the image names.
        """
        while self.read(1 << 16):
            continue
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._digest:
            raise ValueError(f"the layer {self._digest} is not what it says: {found}")


def plain(file: io.BufferedReader) -> BinaryIO:
    """Return a reader of what a file holds unpacked; its first bytes tell how, not its name."""
    begin = file.peek(4)[:4]
    if begin.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if begin == _ZSTD:
        return cast(BinaryIO, zstd.ZstdFile(file))
    return file


def _fits(entry: Mapping[str, object], here: str) -> bool:
    """Tell whether an index's entry is an image for this machine; builders add attestations."""
    wanted = entry.get("platform") or {}
    kind = str(entry.get("artifactType") or "")
    if not isinstance(wanted, Mapping) or kind:
        return False
    return (wanted.get("os", "linux"), wanted.get("architecture", here)) == ("linux", here)


def _blob_name(digest: object) -> str:
    match = _DIGEST.fullmatch(str(digest))
    if match is None:
        raise ValueError(f"{digest!r} is no sha256 digest")
    return f"blobs/sha256/{match[1]}"


def _name(text: object) -> str:
    """Return the name of a file inside of the archive."""
    if not isinstance(text, str) or text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"{text!r} is no name of a file in the image")
    return text


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("an entry is no JSON object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("an entry is no list")
    return value
