"""Plans of running deployments: a URL is all that a person has to give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from loadtest.errors import PlanError
from loadtest.plan.credentials import split_credentials, without_credentials
from loadtest.plan.model import Plan
from loadtest.regions import HERE

ARMS: Final = ("first", "second", "third", "fourth")
_REAL: Final = ("fly", "own")
"""Worlds whose regions are real."""
_LOAD: Final = {"rate": 5.0, "duration_s": 20.0, "warmup_s": 2.0, "block_s": 1.0}
_SCHEME: Final = re.compile(r"\s*https?(:/*|;/*|//+)(?=[^:;/\s])", re.IGNORECASE)
"""What people write for a scheme that is one, colon or no colon."""
_FORM: Final = re.compile(r"https?://[^\s/?#]+", re.ASCII)


def looks_like_url(text: str) -> bool:
    """Tell whether somebody means a URL, well-formed or not, and no file."""
    return "://" in text or bool(_SCHEME.match(text))


def url_faults(key: str, url: str) -> Iterator[str]:
    """
    Yield what is wrong with the URL of a deployment, with the one that was probably meant.

    Args:
        key: Its key or flag, for the sentence.
        url: The URL: scheme, host and perhaps a port; no path.
    """
    meant, shown = probable(url), without_credentials(url)
    hint = f"; did you mean {meant!r}?" if meant and meant != url else ""
    try:
        port, host = urlsplit(url).port, urlsplit(url).hostname
    except ValueError:
        yield f"{key}: {shown!r} has no valid port (1 to 65535) or host{hint}"
        return
    if not host and _FORM.fullmatch(url):
        yield f"{key}: {shown!r} has no host; write http://HOST[:PORT] or https://HOST[:PORT]"
    elif port == 0:
        yield f"{key}: {shown!r} has no valid port (1 to 65535){hint}"
    elif not _FORM.fullmatch(url):
        yield f"{key}: {shown!r} is not http://HOST[:PORT] or https://HOST[:PORT]{hint}"
    elif not _is_name(host or ""):
        yield (
            f"{key}: {shown!r} names no host: between the dots of a name stand 1 to 63 characters"
        )


def _is_name(host: str) -> bool:
    """Tell whether a host can be looked up (RFC 1035, 2.3.4); an address always can."""
    try:
        host.encode("idna")
    except UnicodeError:
        return ":" in host
    return True


def undeployed_faults(plan: Plan) -> Iterator[str]:
    """Yield what a plan wants deployed where nothing is: on machines of a person's own."""
    if plan.world != "own":
        return
    for deployment in plan.deployments:
        if not (deployment.url or deployment.of):
            yield (
                f"deployments.{deployment.name}: machines of your own deploy nothing; deploy it, "
                "and give its url"
            )
    for companion in plan.companions:
        yield f"companions.{companion.name}: machines of your own deploy nothing; leave it out"


def probable(url: str) -> str:
    """Return the base URL that somebody probably meant; empty when there is none to see."""
    text = url.strip()
    if written := _SCHEME.match(text):
        secure = "s" if text[4:5].lower() == "s" else ""
        text = f"http{secure}://{text[written.end() :]}"
    scheme, colon, rest = text.partition(":")
    rest = rest.lstrip("/")
    if scheme.lower() not in ("http", "https") or not colon:
        scheme = "http" if re.match(r"(localhost|127\.|\[::1\])", text.lower()) else "https"
        rest = text.partition("://")[2] or text
    host = re.split(r"[/?#\s]", rest, maxsplit=1)[0].rpartition("@")[2]
    found = f"{scheme.lower()}://{host}"
    try:
        name = urlsplit(found).hostname
        valid = bool(name) and _is_name(name or "") and urlsplit(found).port != 0
    except ValueError:
        return ""
    return found if valid and _FORM.fullmatch(found) else ""


def plan_of_urls(
    urls: Sequence[str],
    *,
    at: str = "",
    regions: Sequence[str] = (),
    paths: Sequence[str] = (),
    world: str = "embedded",
) -> dict[str, object]:
    """
    Return the raw plan that measures running deployments.

    Args:
        urls: One to four URLs, each with a path of its own if no ``paths`` are given.
        at: Region of the emulated network that they stand in; empty: nothing is emulated.
        regions: Client regions; only with ``at``, or where machines are real.
        paths: What is asked for; a path of the URL stands in front of each.
        world: ``fly`` measures from regions of Fly, where only the load generator is deployed,
            ``own`` from machines of a person's own.

    Raises:
        PlanError: A URL is wrong, the URLs' paths differ, or ``regions`` come without a place.
    """
    if len(urls) > len(ARMS):
        raise PlanError(f"{len(urls)} URLs are given; one run compares {len(ARMS)} at most")
    real = world in _REAL
    _refuse_strangers(at, regions, world)
    split = [_split(url) for url in urls]
    return {
        "schema": 1,
        "name": "url",
        "title": _title([base for base, _ in split], at),
        "regions": list(regions) or [at or HERE],
        "primary_region": regions[0] if real else at or HERE,
        "scenario": "scenarios/pages.py",
        "paths": _asked([tail for _, tail in split], paths),
        "base": "0",
        "load": dict(_LOAD),
        "network": {"rtt": "neutral"},
        "database": {"fly_toml": ""},
        "gate": {"max_looks": 5},
        "deployments": [
            {"name": "target" if len(urls) == 1 else name, "url": base, "at": at}
            for name, (base, _) in zip(ARMS, split, strict=False)
        ],
    }


def _refuse_strangers(at: str, regions: Sequence[str], world: str) -> None:
    """Refuse places and client regions that do not go together in a world."""
    on_fly = world == "fly"
    real = world in _REAL
    if real and at:
        where = "on Fly" if on_fly else "between machines of your own"
        raise PlanError(
            f"--at {at}: no distance is emulated {where}, where --regions are real; leave it out"
        )
    if real and not regions:
        raise PlanError(
            f"--regions: name the regions {'of Fly ' if on_fly else ''}to measure from, such as "
            "--regions cdg,ord,syd"
        )
    if regions and not at and not real:
        raise PlanError(
            f"--regions {','.join(regions)}: a URL is measured from this machine, and from nowhere "
            "else; add --at REGION to put the emulated distance to that region in front of it, or "
            "use --world fly, or workers of your own with --coordinator"
        )


def _asked(tails: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return what is asked for, each once: the path of the URLs, with ``paths`` behind it."""
    if len(set(tails)) > 1:
        told = ", ".join(sorted(set(tails)))
        raise PlanError(f"the URLs ask for different paths: {told}; use --path")
    tail = tails[0]
    if paths:
        for path in paths:
            _refuse_no_path(path)
        asked = [
            f"{tail.partition('?')[0].rstrip('/')}/{path.partition('#')[0].lstrip('/')}"
            for path in paths
        ]
    else:
        asked = [tail]
    return list(dict.fromkeys(map(_ascii, asked)))


def _ascii(path: str) -> str:
    """Return a path as it is sent: what is not ASCII as the octets of its UTF-8."""
    return "".join(c if c.isascii() else quote(c) for c in path)


def _title(bases: Sequence[str], at: str) -> str:
    """Return what is measured, for the head of a report and a page."""
    shown = ", ".join(dict.fromkeys(without_credentials(base) for base in bases))
    return f"{shown}, as if in {at}" if at else shown


def _refuse_no_path(path: str) -> None:
    if not path.strip():
        raise PlanError(f"--path: {path!r} names no page; write /, or /search?q=tea")
    if looks_like_url(path):
        shown = without_credentials(path)
        raise PlanError(
            f"--path: {shown!r} is a URL; a path begins with /, the host is that of the URL before "
            "it; several hosts are compared by giving their URLs"
        )
    if re.search(r"\s", path):
        raise PlanError(f"--path: {path!r} holds a blank; write it as %20")
    if not path.startswith("/"):
        raise PlanError(f"--path: {path!r} does not begin with /; write /{path}")


def _split(url: str) -> tuple[str, str]:
    """Return base, with user and password, and path of a URL as it was typed."""
    plain, credentials = split_credentials(url)
    if not looks_like_url(url) and (url.endswith(".toml") or Path(url).is_file()):
        raise PlanError(f"{url!r} is a file beside a URL: give a plan or URLs, not both")
    base = re.match(r"[^/?#]*//[^/?#]*", plain)
    if base is None or re.search(r"\s", plain):
        shown = without_credentials(url)
        raise PlanError(*(list(url_faults("URL", plain)) or [f"URL: {shown!r} holds a blank"]))
    if faults := list(url_faults("URL", base[0])):
        # a slash in a password cuts the URL within it: then all of it is shown, that is hidden
        raise PlanError(*(list(url_faults("URL", plain)) if "@" in plain else faults))
    tail = plain[base.end() :].partition("#")[0]
    if not tail.startswith("/"):
        tail = f"/{tail}"
    if credentials:
        scheme, _, place = base[0].partition("//")
        return f"{scheme}//{credentials}@{place}", tail
    return base[0], tail


def load_words(plan: Plan) -> str:
    """Return in words what load a run of a plan of URLs will put on its targets."""
    seconds = plan.load.duration_s + plan.load.warmup_s
    rate = plan.load.rate * len(plan.deployments) * len(plan.regions)
    return f"{rate:g} requests a second for {seconds:g} s, {rate * seconds:.0f} in all"
