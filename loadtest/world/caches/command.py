"""
What a Redis image's command asks of the server: the image's own start, flags, and configuration.

Images differ in what they read: the official ones take the words of the command, Bitnami's and
Fly's take passwords from the environment.  A configuration file takes it all, so one is written for
every machine: what is secret stays off the command line.

Source: https://valkey.io/topics/valkey.conf, and the images' own entry points.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import WorldError

CACHE_PORT = 6379

_SERVER = re.compile(r"(?:.*/)?(?:redis|valkey)-server")
_SHELLS = ("sh", "bash", "ash", "dash")
_STARTERS = ("docker-entrypoint.sh", "start-redis-server.sh", "entrypoint.sh", "run.sh", "exec")
_LIFELINE = "loadtest.lifeline"
_READS_PASSWORDS = ("bitnami", "flyio")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_DIRECTIVE = re.compile(r"[a-z0-9_.-]+")
_OURS = frozenset(
    ("daemonize", "pidfile", "logfile", "dir", "supervised", "unixsocket", "unixsocketperm")
)
"""Directives about a machine's own disk and start: the world decides those."""
_ABSENT = {
    "loadmodule": "modules are not offered here: the server is Valkey without any",
    "include": "only the file that the command names is read",
    "aclfile": "no other file of the image is here",
    "tls-port": "TLS is not offered here: the private network needs none",
}


@dataclass(frozen=True, slots=True)
class CacheCommand:
    """
    A server's command, taken apart.

    Args:
        before: Words that are run around the server, such as a life-line.
        port: Port that it listens on, as its machine sees it.
        directives: Its configuration, in order, each a name and its values.
    """

    before: tuple[str, ...]
    port: int
    directives: tuple[tuple[str, ...], ...]


def read_command(
    image: str, words: Sequence[str], env: Mapping[str, str], files: Mapping[str, str]
) -> CacheCommand:
    """
    Read what a machine of a Redis image is asked to run.

    Args:
        image: Repository of its image, without registry and tag: ``bitnami/redis``.
        words: Entry point and command; empty for the image's own.
        env: Its environment.
        files: Content of the files that are written into the machine, by path.

    Raises:
        WorldError: It runs something else, or asks for what is not offered here.
    """
    before, asked = _split(list(words), env)
    owner = image.rpartition("/")[0].rpartition("/")[2]
    found: list[tuple[str, ...]] = [("save", ""), ("protected-mode", "no")]
    if owner.startswith(_READS_PASSWORDS):
        found += _from_environment(env)
    if asked and not asked[0].startswith("-"):
        found += _from_file(asked.pop(0), files)
    flags = [env[k] for k in ("REDIS_EXTRA_FLAGS", "VALKEY_EXTRA_FLAGS") if env.get(k)]
    found += _from_words([*asked, *(word for text in flags for word in shlex.split(text))])
    port = CACHE_PORT
    kept = []
    for name, *values in found:
        if not _DIRECTIVE.fullmatch(name):
            raise WorldError(
                f"a cache machine has no option {name!r}: a name is letters and dashes"
            )
        if name in _ABSENT:
            raise WorldError(
                f"a cache machine is asked for {name!r}: {_ABSENT[name]}; leave it out"
            )
        if name == "port":
            port = _port(values)
        elif name not in _OURS:
            kept.append((name, *values))
    return CacheCommand(tuple(before), port, tuple(kept))


def configuration(command: CacheCommand, folder: Path, port: int, bind: Sequence[str]) -> str:
    """
    Return the text of a server's configuration file.

    Args:
        command: What was asked for.
        folder: Where it keeps what it saves.
        port: Port that it really listens on.
        bind: Addresses that it listens on unless the command says so; a ``-`` before one allows it
            to be missing.
    """
    asked = {name for name, *_ in command.directives}
    lines = [] if "bind" in asked else [("bind", *bind)]
    lines += [*command.directives, ("port", str(port)), ("dir", str(folder)), ("daemonize", "no")]
    return "".join(" ".join([name, *map(_quoted, values)]) + "\n" for name, *values in lines)


def _split(words: list[str], env: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the words that stand around the server, and those that it is given."""
    before: list[str] = []
    if _LIFELINE in words:
        cut = words.index(_LIFELINE) + 1
        before, words = words[:cut], words[cut:]
    while words and words[0].rpartition("/")[2] in _STARTERS:
        words = words[1:]
    if len(words) > 2 and words[0].rpartition("/")[2] in _SHELLS and words[1] == "-c":
        words = _from_shell(words[2], env)
    if words and _SERVER.fullmatch(words[0]):
        return before, words[1:]
    if words and not words[0].startswith("-") and not words[0].endswith(".conf"):
        raise WorldError(
            f"a cache machine runs Valkey, not {words[0]!r}; write its command as "
            "redis-server --maxmemory 64mb --maxmemory-policy allkeys-lru"
        )
    return before, words


def _from_shell(line: str, env: Mapping[str, str]) -> list[str]:
    """Return the words of the server's part of a shell line, variables filled in."""
    for part in re.split(r"&&|\|\||;|\n", line):
        try:
            words = shlex.split(_VARIABLE.sub(lambda m: env.get(m[1] or m[2], ""), part))
        except ValueError:
            continue
        while words and words[0].rpartition("/")[2] in _STARTERS:
            words = words[1:]
        if words and _SERVER.fullmatch(words[0]):
            return words
    raise WorldError(
        f"a cache machine runs Valkey, and no redis-server stands in the shell line {line[:80]!r}; "
        "write its command as redis-server --maxmemory 64mb"
    )


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for product in ("REDIS", "VALKEY"):
        if password := env.get(f"{product}_PASSWORD"):
            yield "requirepass", password
        if port := env.get(f"{product}_PORT_NUMBER"):
            yield "port", port


def _from_words(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the directives of flags: every ``--name`` and the values that follow it."""
    found: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            found.append([word[2:].lower()])
        elif found:
            found[-1].append(word)
        else:
            raise WorldError(
                f"a cache machine cannot make sense of {word!r}: options are "
                "written as --name value"
            )
    return [tuple(directive) for directive in found]


def _from_file(name: str, files: Mapping[str, str]) -> list[tuple[str, ...]]:
    if name not in files:
        raise WorldError(
            f"a cache machine's configuration {name!r} is in its image, which is not unpacked "
            "here; bring it along under [[files]] in fly.toml, or write its lines as options of "
            "the command: --maxmemory 64mb"
        )
    found = []
    for line in files[name].splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                first, *values = shlex.split(line)
            except ValueError as error:
                raise WorldError(
                    f"{name}: the line {line[:80]!r} cannot be read: {error}"
                ) from None
            found.append((first.lower(), *values))
    return found


def _port(values: Sequence[str]) -> int:
    text = values[0] if len(values) == 1 else " ".join(values)
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise WorldError(f"a cache machine's port is {text[:20]!r}: it must be from 1 to 65535")
    return int(text)


def _quoted(value: str) -> str:
    """Return a value between quotes, as the server's configuration reads it."""
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character.isprintable() and character not in '"\\':
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
