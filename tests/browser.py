"""The system's Chromium, as a person meets a page in it; what every page of ours has to keep to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import pytest

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium on PATH; Debian's package has it"
)

SCREENS: Final = {"wide": (1280, "light"), "narrow": (400, "light"), "dark": (1280, "dark")}
"""Name -> width in pixels and colour scheme: what each page is looked at with."""

_FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_CROWDED: Final = """() => {
  const texts = [], found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const said = node.textContent.trim(), holder = node.parentElement;
    if (!said || !holder.checkVisibility() || holder.closest("title, desc, .sr, .skip")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width < 2 || box.height < 2) continue;
      let clip = holder;
      while (clip && getComputedStyle(clip).overflowX === "visible") clip = clip.parentElement;
      const cut = clip && clip !== document.body && clip.tagName !== "HTML"
        && getComputedStyle(clip).overflowX === "hidden"
        && box.right > clip.getBoundingClientRect().right + 1;
      if (cut) found.push("cut: " + said);
      const [left, right] = [box.left + 1, box.right - 1];
      texts.push({said, left, right, top: box.top + 3, bottom: box.bottom - 3});
    }
  }
  texts.sort((a, b) => a.top - b.top);
  texts.forEach((a, i) => {
    for (let j = i + 1; j < texts.length && texts[j].top < a.bottom; j++) {
      const b = texts[j];
      if (b.left < a.right && a.left < b.right) found.push(`overlap: ${a.said} | ${b.said}`);
    }
  });
  const root = document.documentElement;
  for (const one of root.clientWidth < 1000 ? [] : document.querySelectorAll(".scroll")) {
    const beyond = one.scrollWidth > one.clientWidth + 1;
    if (beyond) found.push("beyond its card: " + one.textContent.slice(0, 200));
  }
  if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} px wide`);
  return found;
}"""


@dataclass
class Visit:
    """A page that is open, and what went wrong in it: errors, and requests to anywhere else."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def crowded(self) -> list[str]:
        """Return texts that lie on each other or are cut off, and whether the page is too wide."""
        found: list[str] = self.page.evaluate(_CROWDED)
        return found

    def findings(self) -> list[str]:
        """Return what axe finds that keeps people out: serious and critical, rule by rule."""
        source = files("axe_playwright_python") / "axe.min.js"
        self.page.evaluate(source.read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run({resultTypes: ['violations']})")
        return [
            f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the system's Chromium; it is gone at the end."""
    from playwright.sync_api import sync_playwright

    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Any, address: str, screen: str = "wide", *, script: bool = True
) -> Iterator[Visit]:
    """
    Open a page in a window of its own.

    Args:
        browser: From ``chromium``.
        address: Of the page; it may ask for nothing outside of its own folder.
        screen: One of ``SCREENS``.
        script: Whether the page's script runs.
    """
    width, scheme = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=script,
        reduced_motion="reduce",
    )
    page = context.new_page()
    seen = Visit(page)
    home = address[: address.index("/", address.index("://") + 3)]

    def asked(url: str) -> None:
        if not url.startswith((home, "data:", "blob:")):
            seen.complaints.append(f"asked for {url}")

    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda error: seen.complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda told: (
            seen.complaints.append(f"{told.type}: {told.text}")
            if told.type in {"error", "warning"}
            else None
        ),
    )
    page.set_default_timeout(10_000)
    page.goto(address)
    try:
        yield seen
    finally:
        context.close()
