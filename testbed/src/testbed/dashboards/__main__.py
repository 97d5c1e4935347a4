"""Draws the chart's dashboards with the data of the testbed's Prometheus: `python -m testbed.dashboards`.

Chromium, which it installs on Debian, takes the pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.bed import Testbed
from testbed.chromium import chromium
from testbed.dashboards.asking import ask, instant, over
from testbed.dashboards.drawing import WIDTH, Data, page
from testbed.dashboards.reading import Document, filled, panels, variables
from testbed.errors import TestbedError
from testbed.processes import run
from testbed.progress import print_line, step
from testbed.topology import CLOUD

ROOT = Path(__file__).resolve().parents[4]
BOARDS = ROOT / "charts" / "edge-intelligence" / "files" / "dashboards"
RATE_INTERVAL, STEP_SECONDS = "1m", 15.0
PIXELS = 1.25
"""Pixels of the picture for one of the page."""


class Source:
    """The testbed's Prometheus."""

    def __init__(self, bed: Testbed) -> None:
        self._prefix, self._address = bed.in_node(CLOUD), bed.start_prometheus(lambda _: None)

    def ask(self, queries: Sequence[dict[str, str]]) -> list[list[dict[str, Any]]]:
        """Returns the series that each query finds."""
        return ask(self._prefix, self._address, queries)


def values(dashboard: Document, source: Source, wanted: Mapping[str, str]) -> dict[str, str]:
    """Returns a value of each variable: the wanted one, else all, else the first that Prometheus has."""
    found: dict[str, str] = {}
    for variable in variables(dashboard):
        if variable.several:
            found[variable.name] = ".*"
            continue
        selector = filled(variable.selector, found, RATE_INTERVAL)
        [several] = source.ask([instant(f"count by ({variable.label}) ({selector})")])
        known = sorted(series["metric"].get(variable.label, "") for series in several)
        if not known:
            raise TestbedError(f"{variable.name}: no series for {selector}: send requests first")
        found[variable.name] = wanted[variable.name] if wanted.get(variable.name) in known else known[0]
    return found


def collected(
    dashboard: Document, source: Source, chosen: Mapping[str, str], minutes: float
) -> Iterator[Data]:
    """Yields the data of each panel over the last minutes."""
    end = time.time()
    start = end - 60 * minutes
    for panel in panels(dashboard):
        queries = []
        for target in panel["targets"]:
            expression = filled(target["expr"], chosen, RATE_INTERVAL)
            newest = bool(target.get("instant"))
            queries.append(instant(expression) if newest else over(expression, start, end, STEP_SECONDS))
        letters = [target["refId"] for target in panel["targets"]]
        yield Data(dict(zip(letters, source.ask(queries), strict=True)), start, end)


def picture(browser: Path, text: str, height: int, path: Path) -> None:
    """Writes the page as a PNG file. browser: Chromium."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(text)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--force-device-scale-factor={PIXELS}", f"--window-size={WIDTH},{height}"]
        flags += [f"--user-data-dir={folder}/profile", f"--screenshot={path}"]
        run([str(browser), *flags, source.as_uri()], timeout_seconds=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws all dashboards, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m testbed.dashboards", description=__doc__)
    parser.add_argument("names", nargs="*", help="uids of dashboards. Default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "dashboards")
    parser.add_argument("--minutes", type=float, default=15.0, help="time to draw. Default: 15")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    parsed = parser.parse_args(arguments)
    wanted = dict(pair.split("=", 1) for pair in parsed.set)
    try:
        browser = chromium()
        source = Source(Testbed.of_checkout(ROOT))
        parsed.out.mkdir(parents=True, exist_ok=True)
        for path in sorted(BOARDS.glob("*.json")):
            if parsed.names and path.stem not in parsed.names:
                continue
            with step(print_line, path.stem):
                dashboard = json.loads(path.read_text())
                chosen = values(dashboard, source, wanted)
                data = list(collected(dashboard, source, chosen, parsed.minutes))
                shown = "   ".join(f"{k}: {'all' if v == '.*' else v}" for k, v in chosen.items())
                picture(browser, *page(dashboard, data, shown), parsed.out / f"{path.stem}.png")
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
