"""Hook of the documentation's build: links that leave `docs/` lead to the repository."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Turn `../x` of a page at the top of `docs/`, and `../../x` of one below, into a web link."""
    depth = page.file.src_uri.count("/") + 1

    def link(match: re.Match[str]) -> str:
        if match[1].count("../") < depth:
            return match[0]
        return f"]({config['repo_url']}/blob/main/{match[2]})"

    return _OUTSIDE.sub(link, markdown)
