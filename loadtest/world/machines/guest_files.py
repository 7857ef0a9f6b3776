"""The files that are written into a machine before it starts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping

from loadtest.fly.machines import GuestFile


def guest_files(files: Iterable[GuestFile], secrets: Mapping[str, str]) -> dict[str, bytes]:
    """
    Return their contents, by path; one that is no base64 is left out.

    Args:
        files: As the machine's config names them.
        secrets: The app's, which some of them are.
    """
    found = {}
    for file in files:
        content = secrets.get(file.secret, "") if file.secret else file.content
        try:
            found[file.path] = base64.b64decode(content)
        except binascii.Error:
            continue
    return found
