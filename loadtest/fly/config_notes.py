"""What is told of the keys of a fly.toml: those nobody knows, and those without effect here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.fly.config_keys import ANY, KEYS, OLD_NAMES, TomlKey
from loadtest.fly.config_table import nearest
from loadtest.text import one_line


@dataclass(slots=True)
class _Node:
    """A key with the keys under it."""

    key: TomlKey | None = None
    under: dict[str, _Node] = field(default_factory=dict)


def unknown_keys(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted names of keys that Fly does not know, in file order, each once."""
    seen = {path: None for path, node, _ in _walk(_plain(data)) if _unknown(node)}
    yield from seen


def idle_keys(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key that Fly does not know, with a sentence about it, in file order."""
    told: dict[str, str] = {}
    for path, node, siblings in _walk(_plain(data)):
        if node is None:
            word = path.rpartition(".")[2]
            told[path] = f"not a key of fly.toml, so it does nothing{_proposal(word, siblings)}"
        elif node.key is not None and node.key.old:
            told[path] = f"does nothing: {node.key.why}"
    yield from told.items()


def embedded_notes(data: Mapping[str, Any], *, in_folder: bool) -> Iterator[tuple[str, str]]:
    """
    Yield what a visitor gets on Fly and not in the embedded world: the key, and why.

    Args:
        data: The file.
        in_folder: Tell what holds for an app in its folder alone, in place of the rest.
    """
    told: dict[str, str] = {}
    for path, node, _ in _walk(_plain(data)):
        key = None if node is None else node.key
        if key is not None and key.loud and key.in_images == in_folder:
            told.setdefault(
                _section(key.path, path),
                f"works {key.why}" if in_folder else f"has no effect here: {key.why}",
            )
    yield from told.items()


def _section(pattern: str, path: str) -> str:
    """Return the part of a path that a sentence names: the section, not each key in it."""
    if pattern.startswith(("files.", "mounts.", "statics.")):
        return path.rpartition(".")[0]
    return path.rpartition(".")[0] if pattern.endswith(f".{ANY}") else path


def _unknown(node: _Node | None) -> bool:
    return node is None or (node.key is not None and node.key.old)


def _proposal(word: str, siblings: Mapping[str, _Node]) -> str:
    """Return where the same word is a key, or the nearest key beside it."""
    elsewhere = [key.path for key in KEYS if key.path.rpartition(".")[2] == word and not key.old]
    return f"; it is a key elsewhere: {elsewhere[0]}" if elsewhere else nearest(word, siblings)


def _walk(
    data: Mapping[str, Any], node: _Node | None = None, path: str = ""
) -> Iterator[tuple[str, _Node | None, Mapping[str, _Node]]]:
    """Yield each key with its node (None where it is unknown) and the nodes of its siblings."""
    under = (_TREE if node is None else node).under
    for word, value in data.items():
        dotted = f"{path}.{one_line(word)}" if path else one_line(word)
        found = under.get(OLD_NAMES.get(word, word) if not path else word) or under.get(ANY)
        yield dotted, found, under
        if found is None or not found.under:
            continue
        inner = value if isinstance(value, list) else [value]
        for table in inner:
            if isinstance(table, Mapping):
                yield from _walk(table, found, dotted)


def _plain(data: Mapping[str, Any]) -> dict[str, object]:
    """Return the file without its lists of named things, which other keys would be read in."""
    plain = dict(data)
    if isinstance(plain.get("processes"), list):
        del plain["processes"]
    if isinstance(checks := plain.get("checks"), list):
        plain["checks"] = {
            str(check.get("name")): {key: check[key] for key in check if key != "name"}
            for check in checks
            if isinstance(check, Mapping)
        }
    return plain


def _tree() -> _Node:
    top = _Node()
    for key in KEYS:
        node = top
        for word in key.path.split("."):
            node = node.under.setdefault(word, _Node())
        node.key = key
    return top


_TREE = _tree()
