"""The console's page in Chromium: time to first paint, frames with 500 services, axe-core's rules, memory.

Prints one JSON object as its last line. `python -m benchmarks.bench_console [--services N]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Request

from benchmarks.console.browser import DESKTOP, PHONE, Tab, browser, tab
from benchmarks.console.fleet import fleet
from benchmarks.console.served import EVERYTHING, MadeUpRights, Served, served

LOADS, SECONDS, CHANGED, RULES_SERVICES = 5, 10, 25, 20
"""Loads; seconds for which frames are counted; services that change each second then; those of axe-core."""
_PAINTS = "() => Object.fromEntries(performance.getEntriesByType('paint').map(e => [e.name, e.startTime]))"
_ROWS = "() => document.querySelectorAll('table.services tbody tr').length"
_FRAMES = """seconds => new Promise(done => {
  const frames = []; let before = performance.now(); const end = before + 1000 * seconds;
  const step = now => {
    frames.push(now - before); before = now;
    scrollTo(0, (document.body.scrollHeight - innerHeight) * (0.5 - 0.5 * Math.cos(now / 700)));
    if (now < end) requestAnimationFrame(step); else done(frames.slice(2));
  };
  requestAnimationFrame(step);
})"""
_MEMORY = """
import sys
from benchmarks.console.fleet import fleet
from benchmarks.console.served import MadeUpRights, served
import edge_console.cli
with served(fleet(int(sys.argv[1])), MadeUpRights()):
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_console", description=__doc__)
    parser.add_argument("--services", type=int, default=500)
    count = parser.parse_args(arguments).services
    bodies = fleet(count)
    with served(bodies, MadeUpRights()) as console, browser() as chromium:
        result: dict[str, Any] = {"services": count, **paint(console, chromium, count)}
        result |= _frames(console, chromium, count)
    # axe-core takes seconds for each hundred rows, and rows are alike.
    with served(fleet(RULES_SERVICES), MadeUpRights()) as console, browser() as chromium:
        result["axe_violations"] = violations(console, chromium)
    result["memory_mb"] = {str(size): _memory(size) for size in (1, count)}
    print(json.dumps(result))
    return 0


def paint(console: Served, chromium: Browser, count: int) -> dict[str, Any]:
    """Returns medians over loads of the page, each without a cache."""
    first, content, rows, size = [], [], [], 0
    for _ in range(LOADS):
        with tab(chromium, console.url) as opened:
            responses: list[int] = []
            opened.page.on("requestfinished", _adding_sizes(responses))
            opened.open()
            opened.page.wait_for_function(f"({_ROWS})() === {count}")
            paints = opened.page.evaluate(_PAINTS)
            first.append(paints["first-paint"])
            content.append(paints["first-contentful-paint"])
            rows.append(opened.page.evaluate("performance.now()"))
            size = sum(responses)
    return {
        "first_paint_ms": round(statistics.median(first)),
        "first_contentful_paint_ms": round(statistics.median(content)),
        "all_rows_ms": round(statistics.median(rows)),
        "page_bytes": size,
    }


def _adding_sizes(sizes: list[int]) -> Callable[[Request], None]:
    return lambda done: sizes.append(done.sizes()["responseBodySize"])


def _frames(console: Served, chromium: Browser, count: int) -> dict[str, Any]:
    """Returns the times of frames while the page is scrolled and services change."""
    names = [
        (body["metadata"]["namespace"], body["metadata"]["name"])
        for body in fleet(count)
        if body["kind"] == "InferenceService"
    ]
    with tab(chromium, console.url) as opened:
        opened.open()
        opened.page.wait_for_function(f"({_ROWS})() === {count}")
        opened.page.evaluate(f"window.measured = ({_FRAMES})({SECONDS})")
        for second in range(SECONDS):
            for number in range(CHANGED):
                body = console.server.get("InferenceService", *names[(second * CHANGED + number) % count])
                slo = {**body["status"].get("slo", {}), "attainment": f"0.{50 + second}"}
                console.server.put(body | {"status": body["status"] | {"slo": slo}})
            time.sleep(1)
        frames = sorted(opened.page.evaluate("window.measured"))
    return {
        "frame_ms": {
            "median": round(statistics.median(frames), 1),
            "p95": round(frames[int(0.95 * len(frames))], 1),
            "longest": round(frames[-1], 1),
        }
    }


def violations(console: Served, chromium: Browser) -> int:
    """Returns what axe-core finds on all pages, in both themes and sizes."""
    found = 0
    addresses = ("#/services", "#/services/yard/digits-2", "#/pools", "#/pools/north-hall", "#/tenants")
    for scheme in ("light", "dark"):
        for size in (DESKTOP, PHONE):
            with tab(chromium, console.url, size, scheme) as opened:
                for address in addresses:
                    _settled(opened, address)
                    found += len(opened.violations())
    return found


def _settled(opened: Tab, address: str) -> None:
    opened.open(address, EVERYTHING)
    opened.page.wait_for_function("!document.querySelector('.notice:not([hidden])')")


def _memory(count: int) -> float:
    """Returns the resident memory of a console with so many services, in MB."""
    argv = [sys.executable, "-c", _MEMORY, str(count)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(argv, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return round(float(done.stdout), 1)


if __name__ == "__main__":
    sys.exit(main())
