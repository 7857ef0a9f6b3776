"""
A user and a password in a URL: taken out of it at once, sent as a header, shown nowhere.

Source: RFC 3986, 3.2.1 (userinfo); RFC 7617 (Basic).
"""

from __future__ import annotations

import base64
import re
from typing import Final

HIDDEN: Final = "..."
_USERINFO: Final = re.compile(r"(?i)^(\s*[a-z][a-z0-9+.-]*:/{1,3})([^/?#]*)@")
_ANY_USERINFO: Final = re.compile(r"(:/{1,3}).*@", re.DOTALL)


def split_credentials(url: str) -> tuple[str, str]:
    """Return a URL without the user and the password in it, and these; empty where it has none."""
    match = _USERINFO.match(url)
    return (match[1] + url[match.end() :], match[2]) if match else (url, "")


def without_credentials(text: str) -> str:
    """
    Return a text that holds a URL, well-formed or not, without what may be a password in it.

    More is hidden rather than less: everything up to the last @.
    """
    return _ANY_USERINFO.sub(rf"\1{HIDDEN}@", text)


def basic_header(user: str, password: str) -> str:
    """Return the Authorization header of a user and a password, in UTF-8."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
