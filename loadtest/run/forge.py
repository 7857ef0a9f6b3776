"""Where a verdict's comment goes: the pull or merge request that a job's environment names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from loadtest.errors import PlanError
from loadtest.fly.transport import is_loopback

GITHUB_CHARACTERS: Final = 65_536
"""Of a comment.  Source: what GitHub's API says of a longer one, "maximum is 65536 characters"."""
GITLAB_CHARACTERS: Final = 1_000_000
"""Of a note.  Source: docs.gitlab.com, "Instance limits", size of comments and descriptions."""

_GITHUB_API: Final = "https://api.github.com"
_PULL_REF: Final = re.compile(r"refs/pull/(\d+)/")


@dataclass(frozen=True, slots=True)
class CommentThread:
    """
    The comments of one pull request (GitHub) or merge request (GitLab), and the way to them.

    Args:
        forge: ``GitHub`` or ``GitLab``, for sentences.
        api: Base URL of the API.
        comments: Path of the list of comments, below ``api``.
        one: Path of one comment, to which its id is added.
        update: Method that changes one.
        account: Path that tells whose token it is.
        name_key: Key of an account that is its name.
        headers: Sent with every request; holds the token.
        characters: The most that a comment may have.
    """

    forge: str
    api: str
    comments: str
    one: str
    update: str
    account: str
    name_key: str
    headers: Mapping[str, str]
    characters: int


def find_thread(environ: Mapping[str, str], number: int | None = None) -> CommentThread | str:
    """
    Return the thread that the environment of a job speaks of, or why there is none.

    GitHub: ``GITHUB_REPOSITORY``, ``GITHUB_API_URL``, a token in ``GITHUB_TOKEN`` or ``GH_TOKEN``,
    the number from ``GITHUB_EVENT_PATH`` or ``GITHUB_REF``.  GitLab: ``CI_API_V4_URL``,
    ``CI_PROJECT_ID``, ``CI_MERGE_REQUEST_IID``, a token in ``GITLAB_TOKEN``.

    Args:
        environ: Environment variables.
        number: The pull request's or merge request's number, over what the environment says.

    Raises:
        PlanError: The token would go over the network in the clear.

    Source: "Variables reference", docs.github.com; "Predefined CI/CD variables", docs.gitlab.com.
    """
    if environ.get("CI_API_V4_URL") and environ.get("CI_PROJECT_ID"):
        return _gitlab(environ, number)
    if environ.get("GITHUB_REPOSITORY"):
        return _github(environ, number)
    return "neither GITHUB_REPOSITORY nor CI_API_V4_URL and CI_PROJECT_ID are set"


def job_link(environ: Mapping[str, str]) -> str:
    """Return the page of the job that runs, with its artifacts; empty outside of one."""
    if environ.get("CI_JOB_URL"):
        return f"{environ['CI_JOB_URL']}/artifacts/browse"
    parts = [environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}#artifacts" if all(parts) else ""


def _github(environ: Mapping[str, str], number: int | None) -> CommentThread | str:
    token = environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN")
    if not token:
        return "GITHUB_TOKEN is not set"
    found = number or _pull_number(environ)
    if found is None:
        return "this job is of no pull request (--number names one)"
    repository = quote(environ["GITHUB_REPOSITORY"])
    return CommentThread(
        forge="GitHub",
        api=_safe_api(environ.get("GITHUB_API_URL") or _GITHUB_API, "GITHUB_API_URL"),
        comments=f"/repos/{repository}/issues/{found}/comments",
        one=f"/repos/{repository}/issues/comments/",
        update="PATCH",
        account="/user",
        name_key="login",
        headers={
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        },
        characters=GITHUB_CHARACTERS,
    )


def _gitlab(environ: Mapping[str, str], number: int | None) -> CommentThread | str:
    token = environ.get("GITLAB_TOKEN")
    if not token:
        return "GITLAB_TOKEN is not set (CI_JOB_TOKEN may not write comments)"
    iid = environ.get("CI_MERGE_REQUEST_IID", "")
    found = number or (int(iid) if iid.isdecimal() else None)
    if found is None:
        return "this job is of no merge request (--number names one)"
    project = quote(environ["CI_PROJECT_ID"], safe="")
    notes = f"/projects/{project}/merge_requests/{found}/notes"
    return CommentThread(
        forge="GitLab",
        api=_safe_api(environ["CI_API_V4_URL"], "CI_API_V4_URL"),
        comments=notes,
        one=f"{notes}/",
        update="PUT",
        account="/user",
        name_key="username",
        headers={"private-token": token},
        characters=GITLAB_CHARACTERS,
    )


def _pull_number(environ: Mapping[str, str]) -> int | None:
    """Return the number of the pull request that an event of GitHub is about."""
    event: Any = {}
    if path := environ.get("GITHUB_EVENT_PATH"):
        try:
            event = json.loads(Path(path).read_bytes())
        except (OSError, ValueError):
            event = {}
    for place in ("pull_request", "issue"):
        told = event.get(place) if isinstance(event, dict) else None
        if isinstance(told, dict) and (place == "pull_request" or "pull_request" in told):
            number = told.get("number")
            if isinstance(number, int) and not isinstance(number, bool) and number > 0:
                return number
    ref = _PULL_REF.match(environ.get("GITHUB_REF", ""))
    return int(ref[1]) if ref else None


def _safe_api(url: str, variable: str) -> str:
    """
    Return the base URL of an API that a token may be sent to.

    Raises:
        PlanError: It is none.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme == "https" or (scheme == "http" and is_loopback(url)):
        return url.rstrip("/")
    raise PlanError(
        f"{variable}: {url[:200]!r} would carry the token in the clear; it has to be an https URL"
    )
