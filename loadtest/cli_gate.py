"""The commands about verdicts: gate, comment, compare, history."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadtest.cli_live import LiveCommand, conduct, live_option
from loadtest.cli_options import (
    EXIT_CODES,
    app_environment,
    app_secrets_of,
    client_options,
    flags_of,
    header_option,
    plan_options,
    typed_command,
    typed_flags,
)
from loadtest.cli_output import output_options, say, say_length
from loadtest.cli_words import FilePath
from loadtest.errors import EXIT_PASS, PlanError
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.revisions import BaseRevision

_OF_A_STORED_RUN = frozenset(("--json", "--output", "--quiet"))


@click.command(cls=LiveCommand, epilog=EXIT_CODES)
@click.argument("what", required=False)
@click.option("--base", metavar="REV|URL", help="What to compare with: a git revision, or a URL.")
@click.option("--candidate", metavar="URL", help="With a URL as base: the other URL.")
@click.option("--app", metavar="FILE", help="fly.toml of the app; default: ./fly.toml.")
@click.option("--base-exact", is_flag=True,
              help="Compare with REV itself, not with where HEAD left it.")  # fmt: skip
@click.option("--base-app", metavar="FILE", help="Where fly.toml was in REV, if it was moved.")
@click.option("--setup", metavar="LINE", default="",
              help="Shell line that prepares each revision, such as 'npm ci'.")  # fmt: skip
@click.option("--setup-anew", is_flag=True,
              help="Run it for REV, too, though it has run for that commit before.")  # fmt: skip
@click.option("--command", metavar="LINE", default="",
              help="Start command, where fly.toml names none.")  # fmt: skip
@click.option("--release-command", metavar="LINE", default="",
              help="What makes the database, in place of fly.toml's.")  # fmt: skip
@click.option("--seed-command", metavar="LINE", default="",
              help="What fills it after that, in place of fly.toml's.")  # fmt: skip
@click.option("--image", metavar="FILE|NAME", default="",
              help="Image of the working tree: OCI layout, docker save, or a name.")  # fmt: skip
@click.option("--base-image", metavar="FILE|NAME", default="", help="The same of REV.")
@click.option("--context", metavar="DIR",
              help="Folder that images are built from; default: fly.toml's.")  # fmt: skip
@header_option
@client_options
@app_environment
@click.option("--path", "paths", multiple=True, metavar="PATH", help="Path to ask for; repeatable.")
@click.option("--machines", type=click.Choice(["all", "primary"]), default="all",
              help="Where both revisions run.")  # fmt: skip
@click.option("--programs", metavar="DIR",
              help="First on the app's PATH; default: its .venv/bin, if any.")  # fmt: skip
@plan_options("--base-time")
@click.option("--out", type=FilePath(), help="Run folder to write.")
@output_options
@live_option
@click.pass_obj
def gate(
    terminal: Terminal,
    /,
    what: str | None,
    base: str | None,
    candidate: str | None,
    app: str | None,
    **options: Any,
) -> int:
    """
    Judge: a stored run, or the working tree against a base revision.

    Without --base, WHAT is a run folder (default: the latest), and its stored records are judged
    again.  With --base REV the app is run twice in one embedded world, as it is at REV and as it is
    in the working tree; both are measured in one interleaved run, and the candidate must not be
    worse than the margins allow.  With --base URL and --candidate URL two running deployments are
    compared.  WHAT is then a plan with other load, regions or thresholds (scenarios/gate.toml).
    """
    from loadtest.run.judge import judge_folder

    if base is None:
        if idle := sorted(typed_flags() - _OF_A_STORED_RUN):
            raise click.UsageError(
                f"only with --base: {', '.join(idle)}; a stored run is judged by its plan's rules"
            )
        return say(terminal, judge_folder(Path(what) if what else None))
    from loadtest.plan.client import passphrase_of
    from loadtest.plan.headers import give_headers, read_headers
    from loadtest.plan.resolve import load_raw, resolve_judged
    from loadtest.run.carrying import pass_length
    from loadtest.run.conductor import RunConductor
    from loadtest.run.gate_arms import GATE_PLAN, is_url, with_arms
    from loadtest.run.revisions import revision_arms

    flags = {**flags_of(options), "paths": list(options["paths"]) or None}
    raw, dropped = load_raw(what or GATE_PLAN, flags)
    scratch = None
    with ExitStack() as stack:
        if candidate is not None or is_url(base):
            usual = what is None and flags["thresholds"] is None
            raw = _with_urls(raw, base, candidate or "", usual=usual)
        else:
            asked = _base_revision(app, base, options, raw)
            arms = stack.enter_context(revision_arms(asked))
            for note in arms.notes:
                terminal.warn(note)
            raw, scratch = with_arms(raw, arms), arms.scratch
        plan = resolve_judged(raw, dropped)
        say_length(terminal, pass_length(plan))
        plan, headers = give_headers(plan, read_headers(options["headers"]), os.environ)
        make = partial(
            RunConductor,
            plan,
            out=options["out"],
            command=typed_command(),
            scratch=scratch,
            app_secrets=app_secrets_of(options),
            headers=headers,
            passphrase=passphrase_of(plan.client, os.environ),
        )
        return conduct(terminal, options["live"], lambda told, watcher: make(told, watcher=watcher))


def _with_urls(
    raw: Mapping[str, object], base: str, candidate: str, *, usual: bool
) -> dict[str, object]:
    """Return a raw plan with two URLs as its arms, and of ``usual`` rules those that fit URLs."""
    from loadtest.plan.selection import names_in
    from loadtest.run.gate_arms import merge, url_arms, without_counts

    rules = {"thresholds": without_counts(names_in(raw, "thresholds"))} if usual else {}
    return merge({**raw, **rules}, url_arms(base, candidate))


def _base_revision(
    app: str | None, revision: str, options: Mapping[str, Any], raw: Mapping[str, object]
) -> BaseRevision:
    """Return what flags, and else the raw plan, say of two revisions."""
    from loadtest.run.gate_arms import setup_of
    from loadtest.run.revisions import BaseRevision

    images = options["image"] or options["base_image"]
    return BaseRevision(
        app=app,
        revision=revision,
        exact=options["base_exact"],
        base_app=options["base_app"],
        machines=options["machines"],
        programs=options["programs"],
        setup=options["setup"] or ("" if images else setup_of(raw)),
        setup_anew=options["setup_anew"],
        command=options["command"],
        release_command=options["release_command"],
        seed_command=options["seed_command"],
        image=options["image"],
        base_image=options["base_image"],
        context=options["context"],
    )


@click.command(epilog=EXIT_CODES)
@click.argument("folder", required=False, type=FilePath())
@click.option("--name", default="", metavar="NAME",
              help="Tells this gate's comment from those of other gates.")  # fmt: skip
@click.option("--link", default="", metavar="URL",
              help="Where the run's files are; default: the job's page.")  # fmt: skip
@click.option("--number", type=click.IntRange(min=1), metavar="N",
              help="Pull request or merge request; default: the job's own.")  # fmt: skip
@click.option("--print", "printed", is_flag=True, help="Print the comment, whatever is set.")
@click.pass_obj
def comment(
    terminal: Terminal,
    /,
    folder: Path | None,
    *,
    name: str,
    link: str,
    number: int | None,
    printed: bool,
) -> int:
    """
    Write the verdict of a stored run (default: the latest) on its pull request.

    One comment is written and then updated in place.  In a job of GitHub the token is GITHUB_TOKEN,
    in one of GitLab GITLAB_TOKEN.  Without a token, or outside of a pull request, the markdown is
    printed.  The exit code tells whether that worked, not what the verdict is.
    """
    from loadtest.run.comment import comment_text, post_comment
    from loadtest.run.forge import find_thread, job_link

    text = comment_text(folder, name=name, link=link or job_link(os.environ))
    thread = "" if printed else find_thread(os.environ, number)
    if not isinstance(thread, str):
        terminal.done(post_comment(thread, text))
        return EXIT_PASS
    if thread:
        terminal.warn(f"no comment: {thread}; this is what it would say")
    terminal.lines(text.splitlines())
    return EXIT_PASS


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FilePath())
@click.option("--force", is_flag=True, help="Compare runs that are not alike, and say how.")
@click.option("--out", type=FilePath(), help="HTML page to write.")
@click.pass_obj
def compare(
    terminal: Terminal, /, folders: tuple[Path, ...], *, force: bool, out: Path | None
) -> int:
    """
    Compare stored runs with the first of FOLDERS: how far each percentile of each cell moved.

    Stored runs saw different weather, so this shows trends and never fails a release; for a verdict
    use `loadtest gate --base`.  Runs that differ in plan, regions, round-trip times, machine or
    versions are refused unless --force is given.
    """
    from loadtest.run.trends import compare_folders

    if len(folders) < 2:
        raise PlanError("compare: name two or more run folders, the base first")
    compared = compare_folders(folders, force=force, page=out)
    for table in compared.tables:
        terminal.table(table.title, table.headers, table.rows)
    terminal.lines(["", *compared.notes])
    return EXIT_PASS


@click.command()
@click.argument("folder", default="reports", type=FilePath())
@click.option("--out", type=FilePath(), help="HTML page to write.")
@click.pass_obj
def history(terminal: Terminal, /, folder: Path, *, out: Path | None) -> int:
    """Show each cell's median over all runs below FOLDER, and where its level changed."""
    from loadtest.run.trends import history_below

    found = history_below(folder, page=out)
    for table in found.tables:
        terminal.table(table.title, table.headers, table.rows)
    terminal.lines(["", *found.notes])
    return EXIT_PASS
