"""A picture of the console with the demo's services, for the report."""

from __future__ import annotations

from demo.clusters import DemoCluster, Say
from demo.errors import DemoError
from demo.installation import NAMESPACE, SERVICE
from testbed import TestbedError
from testbed.chromium import on_path
from testbed.forwarding import forwarded

ACCOUNT = "edge-operator"
"""Whose token is shown: it may list what the pages show."""
TOKEN_KEY = "edge-console-token"  # noqa: S105 - under which the page keeps a token
SIZE = {"width": 1280, "height": 900}
PATIENCE_MS = 20_000
"""After which the report has no picture: the demo does not wait for it."""


def picture(cluster: DemoCluster, say: Say) -> bytes:
    """Returns the page of the demo's service as PNG; says why and returns no bytes if it cannot be drawn."""
    if on_path() is None:
        say("no picture of the console: chromium is not on PATH")
        return b""
    from playwright.sync_api import Error

    try:
        token = cluster.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, "--duration", "10m").strip()
        entrance = cluster.reach(NAMESPACE, "edge-console")
        with forwarded(entrance.prefix, entrance.host, entrance.http) as port:
            return _taken(f"http://127.0.0.1:{port}", token)
    except (Error, DemoError, TestbedError) as error:
        say(f"no picture of the console: {error}")
        return b""


def _taken(url: str, token: str) -> bytes:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program, flags = str(on_path()), ["--no-sandbox"]  # root cannot use the sandbox
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            page.evaluate("([key, text]) => sessionStorage.setItem(key, text)", [TOKEN_KEY, token])
            page.goto(f"{url}/#/services/default/{SERVICE}")
            page.reload()
            page.wait_for_selector("#live[data-state=live]")
            page.wait_for_selector("section:has-text('Why this cut') table")
            return page.screenshot(full_page=True)
        finally:
            browser.close()
