"""The verdict as a comment on a pull request: written once, then updated where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from loadtest.errors import WorldError
from loadtest.run.forge import CommentThread
from loadtest.run.judge import find_folder, judge_stored
from loadtest.text import one_line

_TIMEOUT_S: Final = 30.0
_PER_PAGE: Final = 100
_MOST_PAGES: Final = 50


def comment_text(folder: Path | None, *, name: str = "", link: str = "") -> str:
    """
    Return a stored run's verdict as markdown.

    Args:
        folder: Run folder; None takes the latest.
        name: Tells this gate from others of the same pull request.
        link: Where the run's files are to be had; empty leaves the line out.

    Raises:
        RecordsError: The run cannot be read.
        PlanError: The name or the link is none.
    """
    from loadtest.gate import markdown

    _run, summary, verdict = judge_stored(find_folder(folder))
    return markdown.render(verdict, summary, name=name, link=link)


def post_comment(
    thread: CommentThread, text: str, *, transport: httpx.BaseTransport | None = None
) -> str:
    """
    Write a comment, or change the one of ours that begins with the same line.

    A comment counts as ours when it is by the account of the token; where a token may not ask for
    its account, as that of a GitHub job, when it is by a bot.  Others' comments are never touched.

    Args:
        thread: Where it goes.
        text: Markdown; its first line is the mark that it is found again by.
        transport: Stands in for the network in tests.

    Returns:
        What was done, for a person.

    Raises:
        WorldError: The forge cannot be reached, or refuses.
    """
    from loadtest.gate.markdown import fitting

    marker = text.partition("\n")[0]
    body = fitting(text, thread.characters)
    with httpx.Client(
        base_url=thread.api, headers=dict(thread.headers), timeout=_TIMEOUT_S, transport=transport
    ) as http:
        own = _own_comment(http, thread, marker)
        if own is None:
            made = _ask(http, thread, "POST", thread.comments, {"body": body})
            return f"{thread.forge}: comment written{_where(made)}"
        made = _ask(http, thread, thread.update, f"{thread.one}{own}", {"body": body})
        return f"{thread.forge}: comment updated{_where(made)}"


def _own_comment(http: httpx.Client, thread: CommentThread, marker: str) -> int | None:
    """Return the id of the first comment of ours that begins with a marker."""
    account: str | None = None
    for comment in _comments(http, thread):
        body, number = comment.get("body"), comment.get("id")
        if not isinstance(body, str) or not isinstance(number, int):
            continue
        if body.replace("\r\n", "\n").partition("\n")[0].rstrip() != marker:
            continue
        account = _account(http, thread) if account is None else account
        author = comment.get("user") or comment.get("author")
        author = author if isinstance(author, dict) else {}
        is_bot = not account and author.get("type") == "Bot"
        if is_bot or (account and author.get(thread.name_key) == account):
            return number
    return None


def _comments(http: httpx.Client, thread: CommentThread) -> Iterator[dict[str, object]]:
    for page in range(1, _MOST_PAGES + 1):
        query = f"?per_page={_PER_PAGE}&page={page}"
        listed = _ask(http, thread, "GET", f"{thread.comments}{query}")
        if not isinstance(listed, list):
            raise WorldError(f"{thread.forge}: the list of comments is no list")
        yield from (comment for comment in listed if isinstance(comment, dict))
        if len(listed) < _PER_PAGE:
            return


def _account(http: httpx.Client, thread: CommentThread) -> str:
    """Return the name of the token's account; empty where it may not ask for it."""
    try:
        told = _ask(http, thread, "GET", thread.account)
    except _RefusedError:
        return ""
    name = told.get(thread.name_key) if isinstance(told, dict) else None
    return name if isinstance(name, str) else ""


class _RefusedError(WorldError):
    """The forge answered with a failure."""


def _ask(
    http: httpx.Client, thread: CommentThread, method: str, path: str, body: Any = None
) -> Any:
    """Return what the forge answers, taken from its JSON."""
    try:
        response = http.request(method, path, json=body)
        if response.is_success:
            return response.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        told = one_line(str(error)) or type(error).__name__
        raise WorldError(f"{thread.forge} at {thread.api} cannot be reached: {told}") from error
    except ValueError as error:
        raise WorldError(
            f"{thread.forge}: {method} {thread.api}{path} answered something that is not JSON; is "
            "this the address of its API?"
        ) from error
    raise _RefusedError(
        f"{thread.forge}: {method} {path} answered {response.status_code}: "
        f"{_reason(response)}{_advice(thread, response.status_code)}"
    )


def _reason(response: httpx.Response) -> str:
    try:
        told = response.json()
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    return one_line(str(told.get("message") or told.get("error") or "no reason given"))[:300]


def _advice(thread: CommentThread, status: int) -> str:
    if status in (401, 403, 404) and thread.forge == "GitHub":
        return (
            "; the job needs `permissions: pull-requests: write`, which a pull request from a fork "
            "does not get: the job summary says the same"
        )
    if status in (401, 403, 404):
        return "; GITLAB_TOKEN has to be an access token with the scope api, of this project"
    return ""


def _where(made: Any) -> str:
    """Return the address of a comment, where the forge tells it."""
    url = made.get("html_url") if isinstance(made, dict) else None
    return f", {one_line(url)}" if isinstance(url, str) else ""
