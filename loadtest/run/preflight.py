"""One request to every page before there is load: what cannot work is told at once."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from loadtest.errors import EngineError, WorldError
from loadtest.plan.client import ClientSettings
from loadtest.plan.credentials import without_credentials
from loadtest.plan.model import Plan
from loadtest.plan.order import Target
from loadtest.records.statuses import refuses, status_sentence
from loadtest.run.progress import Progress
from loadtest.text import one_line

_TIMEOUT_S = 15.0
_AT_ONCE = 32
_WANT_CREDENTIALS = (401, 403)
_PAGES = "pages.py"  # the scenario that asks for the plan's paths and nothing else


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one page answered: its status and where a redirect leads; or why there was none."""

    status: int = 0
    leads_to: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        told = status_sentence(self.status)
        if self.leads_to:
            return f"{told}, {self.leads_to}"
        if self.status in _WANT_CREDENTIALS:
            return f"{told}: it wants to know who asks; give what it wants with --header"
        return told


def preflight(plan: Plan, targets: Mapping[str, Mapping[str, Target]]) -> None:
    """
    Ask every deployment for every page, once: a URL from one region, an app of ours from each.

    A page that one arm answers and another does not is a finding, which the run is for; a page
    that nobody answers, and a URL that cannot be reached, would be load for nothing.

    Args:
        plan: Resolved plan.
        targets: Client region -> deployment -> target.

    Raises:
        EngineError: With a sentence for every deployment or page that cannot be measured.
        WorldError: The same, where all of them are apps that were deployed here.
    """
    faults: dict[str, list[str]] = {}
    ours, urls = True, list[_Look]()
    for region, looks in _looks(plan, targets).items():
        unreached = [look.broken for look in looks if look.url and look.broken]
        refused = [look.refusals for look in (*urls, *looks)]
        urls += [look for look in looks if look.url]
        nobody = [page for page in _pages(plan) if all(page in pages for pages in refused)]
        told = unreached + [pages[page] for page in nobody for pages in refused]
        ours = ours and not (unreached or (nobody and any(look.url for look in looks)))
        if told:
            faults[region] = list(dict.fromkeys(told))
    if faults:
        text = "\n".join(
            f"before the load, from {region}:\n" + "\n".join(told)
            for region, told in faults.items()
        )
        raise WorldError(text) if ours else EngineError(text)


@dataclass(frozen=True, slots=True)
class _Look:
    """
    What one deployment answered in one region.

    Args:
        url: It is a URL, and no app that was deployed.
        broken: Where and why it did not answer at all; nothing more was asked then.
        refusals: What was answered that a run cannot use, by page.
    """

    url: bool
    broken: str
    refusals: Mapping[str, str]


def _looks(plan: Plan, targets: Mapping[str, Mapping[str, Target]]) -> dict[str, list[_Look]]:
    """Return what deployments answered, by region; all are asked at the same time."""
    first = next(iter(targets), "")
    wanted = [
        (region, name, target)
        for region, arms in targets.items()
        for name, target in arms.items()
        if region == first or not plan.deployment(name).url
    ]
    found: dict[str, list[_Look]] = {}
    if wanted:
        with ThreadPoolExecutor(min(len(wanted), _AT_ONCE)) as pool:
            looks = pool.map(lambda one: _look(plan, *one[1:]), wanted)
            for (region, *_), look in zip(wanted, looks, strict=True):
                found.setdefault(region, []).append(look)
    return found


def _look(plan: Plan, name: str, target: Target) -> _Look:
    """Ask one deployment for every page."""
    url = plan.deployment(name).url.rstrip("/")
    shown, pages = url or f"{name}, ", _pages(plan)
    refusals: dict[str, str] = {}
    for page, answer in _ask(target, pages, plan.client):
        if not answer.status:
            reason = _nearer_reason(plan, name, target, page) or answer.reason
            broken = f"{shown}{page}: {reason}"
            refusals |= dict.fromkeys(pages[pages.index(page) :], broken)
            return _Look(bool(url), broken, refusals)
        if plan.scenario.endswith(_PAGES) and refuses(plan.expect, "GET", answer.status):
            meant = f"; the plan expects {_listed(plan.expect)}" if plan.expect else ""
            refusals[page] = f"{shown}{page}: answered {answer.sentence}{meant}"
    return _Look(bool(url), "", refusals)


def _pages(plan: Plan) -> tuple[str, ...]:
    return plan.paths if plan.scenario.endswith(_PAGES) else ("/",)


def _nearer_reason(plan: Plan, name: str, target: Target, page: str) -> str:
    """
    Return why a deployment behind an emulated distance does not answer; empty if it does.

    The link takes every connection, and can only drop those that nobody takes at its other end.
    """
    deployment = plan.deployment(name)
    if not deployment.at:
        return ""
    here = target.model_copy(update={"url": deployment.url.rstrip("/"), "host": ""})
    (_, answer), *_ = _ask(here, (page,), plan.client)
    return answer.reason


def told_from_here(
    plan: Plan, targets: Mapping[str, Mapping[str, Target]], progress: Progress
) -> None:
    """
    Warn of what this machine cannot ask: workers elsewhere may reach what it does not.

    Args:
        plan: Resolved plan.
        targets: As for `preflight`.
        progress: Told.
    """
    try:
        preflight(plan, targets)
    except EngineError as error:
        for line in str(error).splitlines():
            progress.warn(line)


def targets_from_here(plan: Plan) -> dict[str, dict[str, Target]]:
    """
    Return the deployments that are URLs as this machine reaches them, before machines are ordered.

    Names of Fly's private network are known to its machines only, so they are left out.
    """
    urls = {d.name: d.url.rstrip("/") for d in plan.deployments if d.url}
    http = {d.name: plan.http_of(d) for d in plan.deployments}
    hosts = {name: urlsplit(url).hostname or "" for name, url in urls.items()}
    public = {
        name: Target(url=url, http=http[name])
        for name, url in urls.items()
        if not hosts[name].endswith((".internal", ".flycast"))
    }
    return {"this machine": public}


def _ask(
    target: Target, pages: tuple[str, ...], settings: ClientSettings
) -> Iterator[tuple[str, _Answer]]:
    """Yield each page with what it answered."""
    url, host = _given_address(target, settings)
    given = {"host": host, **target.headers} if host else target.headers
    headers = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    name = urlsplit(f"//{host}").hostname
    extensions = {"sni_hostname": name} if name else {}
    with httpx.Client(
        verify=_trust(target, settings),
        trust_env=False,
        timeout=_TIMEOUT_S,
        http1=target.http != "2",
        http2=target.http == "2",
    ) as client:
        for page in pages:
            try:
                response = client.get(f"{url}{page}", headers=headers, extensions=extensions)
            except httpx.TimeoutException:
                yield page, _Answer(reason=f"no answer within {_TIMEOUT_S:g} s")
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
                yield page, _Answer(reason=_reason(error))
            else:
                place = response.headers.get("location", "")
                leads_to = without_credentials(urljoin(str(response.url), place)) if place else ""
                redirects = 300 <= response.status_code < 400
                yield page, _Answer(response.status_code, one_line(leads_to) if redirects else "")


def _given_address(target: Target, settings: ClientSettings) -> tuple[str, str]:
    """Return the URL to ask and the Host that it is asked for; empty for the URL's own."""
    parts = urlsplit(target.url)
    address = settings.resolve.get(parts.hostname or "")
    if address is None:
        return target.url, target.host
    port = f":{parts.port}" if parts.port else ""
    place = f"[{address}]" if ":" in address else address
    return f"{parts.scheme}://{place}{port}", target.host or parts.netloc


def _trust(target: Target, settings: ClientSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca_file or settings.ca_file or None)
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate:
        context.load_cert_chain(settings.certificate, settings.key or None, target.passphrase)
    return context


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "certificate verify failed" in text:
        _, _, why = text.partition("certificate verify failed: ")
        return f"certificate refused: {why.partition(' (_ssl')[0] or 'not trusted'}"
    if "[SSL: WRONG_VERSION_NUMBER]" in text:
        return "the server does not speak TLS on this port; is it http://?"
    number = text.partition("]")[2].strip() if text.startswith("[Errno") else text
    return number[:1].lower() + number[1:]


def _listed(statuses: tuple[int, ...]) -> str:
    return ", ".join(map(str, statuses))
