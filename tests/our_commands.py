"""Finds our commands in scripts and pages, and lets the command line read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from loadtest.cli import cli
from loadtest.terminal import Terminal


def commands_in(script: str) -> Iterator[list[str]]:
    """Yield the words behind each `loadtest` of a script; what a shell would fill in is a word."""
    script = re.sub(r'"\$\{\w+\[@\]\}"', "", script)  # a list that may be empty
    plain = re.sub(r"\$\{\{.*?\}\}|\$\{[^}]*\}|\$\([^)]*\)|\$\w+", "x", script.replace("\\\n", " "))
    for line in plain.splitlines():
        if not re.search(r"\bloadtest(:ci)?\"? +[a-z-]", line):
            continue
        words = shlex.split(line, comments=True)
        starts = [i for i, word in enumerate(words) if is_program(words, i, word)]
        for start in starts:
            end = next(
                (i for i in range(start, len(words)) if words[i] in ("|", ";", "&&", "||")), None
            )
            yield words[start + 1 : end]


def is_program(words: list[str], index: int, word: str) -> bool:
    """Tell whether a word is our program: first of a line, or what a container is to run."""
    if word.rpartition("/")[2] != "loadtest" or index + 1 == len(words):
        return False
    return index == 0 or words[index - 1] in ("|", ";", "&&", "||", "loadtest:ci")


def parse(words: list[str]) -> None:
    """Let our command line read words without doing what they say; raises what it would."""
    command: click.Command = cli
    context: click.Context | None = None
    while True:
        try:
            context = command.make_context(
                words[0] if words else "", list(words), parent=context, obj=Terminal()
            )
        except click.exceptions.Exit:  # such as --version
            return
        if not isinstance(command, click.Group):
            return
        _, found, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None
        command = found
