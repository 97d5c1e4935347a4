"""A console's page in Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.console.served import EVERYTHING
from testbed.chromium import chromium

TOKEN_KEY = "edge-console-token"
_PATIENCE_MS = 180_000  # suffices on any machine
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, and without its sandbox, which root cannot use: it opens own pages alone."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(chromium()), args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


@dataclass
class Tab:
    """A page of a console. complaints: errors in its script or on its console."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str = "#/services", token: str = EVERYTHING) -> None:
        """Opens an address as the holder of a token; returns when it shows what the stream sent."""
        self.page.goto(self.url)
        self.page.evaluate("([key, text]) => sessionStorage.setItem(key, text)", [TOKEN_KEY, token])
        self.page.goto(f"{self.url}/{address}")
        self.page.reload()
        self.page.wait_for_selector("#live[data-state=live]")

    def violations(self) -> list[str]:
        """What axe-core finds, as `rule: element`."""
        self.page.evaluate(_axe())
        found: dict[str, Any] = self.page.evaluate(
            "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', "
            "'best-practice']})"
        )
        nodes = [(each["id"], node["html"]) for each in found["violations"] for node in each["nodes"]]
        return [f"{rule}: {html[:160]}" for rule, html in nodes]


@contextlib.contextmanager
def tab(
    chromium_: Browser,
    url: str,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Tab]:
    """A tab of a context of its own, so that nothing is kept from one to the next."""
    context = chromium_.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, timezone_id="UTC", locale="en-GB"
    )
    context.set_default_timeout(_PATIENCE_MS)
    found = Tab(context.new_page(), url)
    complain = found.complaints.append
    found.page.on("console", lambda said: complain(said.text) if said.type == "error" else None)
    found.page.on("pageerror", lambda error: complain(str(error)))
    try:
        yield found
    finally:
        context.close()


def _axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text()
