"""Draws the pictures of docs/console.md, of a factory: `python -m benchmarks.console.pictures FOLDER`."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from benchmarks.console.browser import DESKTOP, PHONE, Tab, browser, tab
from benchmarks.console.served import MadeUpRights, Served, served
from edge_operator.cluster import Object

ROOT = Path(__file__).resolve().parents[2]


def main(folder: Path) -> None:
    """Writes the pictures into a folder."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from factory import bodies, factory

    folder.mkdir(parents=True, exist_ok=True)
    world = factory()
    wall = world.clock().wall
    with served(bodies(world), MadeUpRights(), wall) as console, browser() as chromium:
        _sample(console, bodies(world), wall().timestamp())
        with tab(chromium, console.url, DESKTOP) as light:
            light.open()
            light.page.wait_for_selector("table.services tbody tr")
            _picture(light, folder / "services.png", (0, 0, 1280, 530))
            light.open("#/pools/factory")
            light.page.wait_for_selector(".load")
            light.page.get_by_label("Follow").select_option("default/digits")
            light.page.wait_for_selector(".map-links path.on")
            _picture(light, folder / "pool.png", (0, 0, 1280, 760))
        with tab(chromium, console.url, (1280, 1180)) as tall:
            tall.open("#/services/default/labels")
            tall.page.wait_for_selector("section:has-text('Why this cut') table")
            _picture(tall, folder / "service.png", (0, 0, 1280, 1180))
        with tab(chromium, console.url, PHONE, "dark") as phone:
            phone.open()
            phone.page.wait_for_selector("table.services tbody tr")
            _picture(phone, folder / "phone.png", (0, 0, 390, 844))


def _picture(shown: Tab, path: Path, box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    shown.page.evaluate("document.fonts.ready")
    shown.page.screenshot(path=path, clip={"x": x, "y": y, "width": width, "height": height})


def _sample(console: Served, found: list[Object], now: float) -> None:
    """Gives the console an hour of samples, which vary as links do."""
    chance = random.Random(7)
    for minute in range(60):
        for body in found:
            if body["kind"] == "Placement":
                console.samples.take(_varied(body, chance), now - 3600 + 60 * minute)


def _varied(body: Object, chance: random.Random) -> Object:
    now: dict[str, Any] = body["status"]
    p95 = float(now["latency"]["p95"].removesuffix("ms")) * chance.uniform(0.85, 1.05)
    link = now.get("link") or {}
    if link:
        link = link | {"bandwidth": str(int(int(link["bandwidth"]) * chance.uniform(0.7, 1.2)))}
    return body | {"status": now | {"link": link, "latency": {"p95": f"{p95:.0f}ms"}}}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
