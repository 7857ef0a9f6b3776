"""The commands for who begins: init, doctor, regions, scenarios, explain."""

from __future__ import annotations

import ast
from pathlib import Path

import click

from loadtest.cli_words import complete_codes
from loadtest.errors import EXIT_PASS, EXIT_WORLD, PlanError
from loadtest.regions import Region, region_table, suggest_regions
from loadtest.terminal import Terminal

_SIGNS = {"works": "✓", "lost": "–", "broken": "✗"}


@click.command()
@click.option("--url", default="", metavar="URL", help="A running deployment to begin with.")
@click.pass_obj
def init(terminal: Terminal, /, *, url: str) -> int:
    """Write a plan, a scenario and a workflow for the app in this folder; overwrite nothing."""
    from loadtest.run.begin import begin

    made = begin(Path(), url)
    terminal.lines([*(f"wrote {path}" for path in made.files), "", "Next:"])
    terminal.lines(f"  {line}" for line in made.advice)
    return EXIT_PASS


@click.command()
@click.pass_obj
def doctor(terminal: Terminal, /) -> int:
    """Say what works on this machine, and what is lost where something does not."""
    from loadtest.run.doctor import examine

    findings = examine()
    terminal.table(
        "This machine", ("", "", "found"), [(_SIGNS[f.state], f.subject, f.told) for f in findings]
    )
    broken = [finding.subject for finding in findings if finding.state == "broken"]
    if broken:
        terminal.lines(["", f"No run is possible in the embedded world: {', '.join(broken)}."])
    return EXIT_WORLD if broken else EXIT_PASS


@click.command()
@click.argument("code", required=False, shell_complete=complete_codes)
@click.option("--rtt", default="neutral", metavar="SET",
              help="published-era, neutral (default), or a CSV file.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Those that Fly retired, too.")
@click.pass_obj
def regions(terminal: Terminal, /, code: str | None, *, rtt: str, everything: bool) -> int:
    """List regions with their place; with CODE, each one's round-trip time to it."""
    from loadtest.plan.network import pair_key, round_trips

    table = region_table()
    asked = (code or "").lower()
    cities = {region.city.lower(): region.code for region in table.values()}
    asked = cities.get(asked, asked)
    if asked and asked not in table:
        near = ", ".join(f"{one} ({table[one].city})" for one in suggest_regions(asked))
        raise PlanError(f"regions: {asked!r} is no region" + (f"; near are {near}" if near else ""))
    shown = [r for r in table.values() if everything or not r.retired or r.code == asked]
    if not asked:
        rows = [(r.code, r.city, f"{r.latitude:g}, {r.longitude:g}", _status(r)) for r in shown]
        terminal.table("Regions", ("code", "city", "latitude, longitude", ""), rows)
        return EXIT_PASS
    found = round_trips(rtt, [r.code for r in shown], {})
    others = [r for r in shown if r.code != asked]
    others.sort(key=lambda r: found.rtt_ms[pair_key(asked, r.code)])
    rows = [
        (
            r.code,
            r.city,
            f"{found.rtt_ms[pair_key(asked, r.code)]:.1f} ms",
            found.sources[pair_key(asked, r.code)],
        )
        for r in others
    ]
    title = f"Round trips from {asked} ({table[asked].city})"
    terminal.table(title, ("code", "city", "round trip", "source"), rows)
    return EXIT_PASS


def _status(region: Region) -> str:
    if not region.retired:
        return ""
    return f"retired, now {region.replacement}" if region.replacement else "retired"


@click.command()
@click.pass_obj
def scenarios(terminal: Terminal, /) -> int:
    """List the plans and scenarios that come along; copy one, edit it, name it."""
    from loadtest.assets import find_asset

    folder = find_asset("scenarios")
    if folder is None:
        raise PlanError("scenarios: the folder is missing: the installation is incomplete")
    rows = [
        (f"scenarios/{path.name}", _first_sentence(path))
        for path in sorted(folder.iterdir(), key=lambda path: (path.suffix != ".toml", path.name))
        if path.suffix in (".toml", ".py")
    ]
    terminal.table(f"In {folder.parent}", ("file", "what it is"), rows)
    return EXIT_PASS


def _first_sentence(path: Path) -> str:
    """Return what a plan's first comment or a scenario's docstring says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".toml":
        return text.partition("\n")[0].lstrip("# ").strip()
    try:
        told = ast.get_docstring(ast.parse(text)) or ""
    except (SyntaxError, ValueError):
        return "no Python that can be read"
    return told.partition("\n")[0]


@click.command()
@click.argument("words", nargs=-1)
@click.pass_obj
def explain(terminal: Terminal, /, words: tuple[str, ...]) -> int:
    """Say what a word of the reports means; without one, all of them."""
    from loadtest.report.base.glossary import TERMS

    asked = " ".join(words).lower()
    found = [(term, text) for term, text in TERMS if asked in term.lower()]
    if not found:
        known = ", ".join(term for term, _ in TERMS)
        raise PlanError(f"explain: {asked!r} is no word of the reports; there are {known}")
    for term, text in found:
        terminal.lines([term, f"  {text}", ""])
    return EXIT_PASS
