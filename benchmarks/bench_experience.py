"""Measures what a newcomer and the people on call meet: `make bench-experience`.

install: from `helm install` to the first response, by the commands of docs/install.md, on parts of K3s.
panels: those of the dashboards that show data after requests. alerts: those that fire in a test by promtool.
doctor: planted faults that `ei doctor` finds. console: first paint and axe-core's violations, 500 services.

Prints progress to stderr and one JSON object as its last line. --only selects parts. install, panels and
doctor boot clusters of the testbed and need root; install needs that none runs. --keep leaves the last one
running.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bench_console
from benchmarks.console.browser import browser
from benchmarks.console.fleet import fleet
from benchmarks.console.served import MadeUpRights, served
from benchmarks.experience import alerts, faults, install_page, panels, serving, states
from benchmarks.pool.sections import measured
from benchmarks.runtime.commands import reported, say
from demo.errors import DemoError
from demo.installation import wait_for
from testbed import Testbed
from testbed.dashboards.__main__ import Source
from testbed.errors import TestbedError
from testbed.images import CHART_NAMES
from testbed.prerequisites import check

ROOT = Path(__file__).resolve().parents[1]
SERVICES, RULES_SERVICES = 500, bench_console.RULES_SERVICES
PATIENCE = 300.0
"""Seconds until what is not there yet counts as missing."""
Result = dict[str, object]


def console(_: Path) -> Result:
    """Measures the page of the console in Chromium."""
    with served(fleet(SERVICES), MadeUpRights()) as page, browser() as chromium:
        painted = bench_console.paint(page, chromium, SERVICES)
    with served(fleet(RULES_SERVICES), MadeUpRights()) as page, browser() as chromium:
        violations = bench_console.violations(page, chromium)
    return {"axe_violations": violations, "first_paint_ms": painted["first_paint_ms"]}


def fired(folder: Path) -> Result:
    """Counts alerts, and those that fire where they should and nowhere close to it."""
    check(say)
    rules = ROOT / alerts.RULES
    firing = list(alerts.that_fire(alerts.run_promtool, rules, folder))
    return {"alerts": len(alerts.alerts(rules)), "alerts_tested": len(firing)}


def installed(folder: Path) -> Result:
    """Types the commands of the page on a cluster of K3s' parts."""
    bed = Testbed.of_checkout(ROOT)
    if bed.running():
        raise TestbedError(
            "install: the testbed runs: run `testbed down` first, or choose others with --only"
        )
    try:
        bed.up(install_page.NODES, say, like="k3s")
        bed.images(say, names=CHART_NAMES)
        install_page.without_class(bed)
        typed = []
        for block in install_page.typed(bed, ROOT, folder):
            say(f"{block.text.splitlines()[0][:80]}: {block.ended - block.began:.1f} s")
            typed.append(block)
        return {"install_to_answer_s": round(install_page.install_to_answer(typed), 1)}
    finally:
        bed.down()


def shown(site: serving.Serving, *, quick: bool) -> Result:
    """Counts panels, and those in which every query finds data while requests are sent.

    The example is also left idle, then rolled out, since some panels have data only then.
    """
    source, cluster = Source(site.bed), site.cluster
    known = lambda: not panels.empty(source, {"": panels.KNOWN})  # noqa: E731
    with panels.observed(cluster.kubectl), site.load():
        wait_for("the metrics of the operator", known, PATIENCE, str)
        found = with_data(source, panels.asked(source))
    with states.idle(cluster), site.load(states.SELDOM):
        found |= with_data(source, panels.asked(source, panels.IDLE))
    with (
        tempfile.TemporaryDirectory() as folder,
        site.unlimited(),
        states.rolling(cluster, site.model.onnx, Path(folder)),
        site.load(),
    ):
        found |= with_data(source, panels.asked(source, panels.ROLLOUT))
    return {"panels": len(found), "panels_with_data": sum(found.values())}


def with_data(source: Source, asked: Mapping[str, Mapping[str, str]]) -> dict[str, bool]:
    """Returns for each panel whether every query of it finds data in time."""
    missing = panels.Unanswered(source, panels.by_query(asked))
    ends = time.monotonic() + PATIENCE
    while missing() and time.monotonic() < ends:
        time.sleep(1)
    say(f"{len(asked)} panels: no data for {missing.names}")
    return {
        panel: not any(f"{panel} {one}" in missing.names for one in letters)
        for panel, letters in asked.items()
    }


def diagnosed(site: serving.Serving, *, quick: bool) -> Result:
    """Plants faults, and counts those that the doctor finds in one run."""
    found: dict[str, list[str]] = {}
    ends = time.monotonic() + PATIENCE
    with faults.planted(faults.Cluster(site.bed, site.cluster.kubectl)) as look:
        while not found.keys() >= faults.PLANTED.keys() and time.monotonic() < ends:
            found = look()
    missed = {code: name for code, name in faults.PLANTED.items() if code not in found}
    say(f"the doctor did not find {missed}")
    return {"doctor_found": len(faults.PLANTED) - len(missed), "doctor_planted": len(faults.PLANTED)}


ALONE: Mapping[str, Callable[[Path], Result]] = {"console": console, "alerts": fired, "install": installed}
ON_THE_EXAMPLE = {"panels": shown, "doctor": diagnosed}
PARTS = (*ALONE, *ON_THE_EXAMPLE)


def measure(only: Sequence[str], folder: Path, *, keep: bool) -> Result:
    """Returns the results of the parts; `left_out` has the reasons of those that failed."""
    result: Result = {}
    left_out: dict[str, str] = {}
    for name, part in ALONE.items():
        if name in only:
            say(f"{name}:")
            try:
                result |= part(folder)
            except (TestbedError, DemoError) as error:
                say(str(error))
                left_out[name] = str(error)
    sections = {name: part for name, part in ON_THE_EXAMPLE.items() if name in only}
    if sections:
        prepare = partial(serving.prepared, ROOT, say)
        found: dict[str, Any] = measured(ROOT, prepare, sections, quick=False, keep=keep)
        left_out |= found.get("left_out", {})
        for name in sections:
            result |= found.get(name, {})
    return result | ({"left_out": left_out} if left_out else {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the named parts, all by default."""
    parser = argparse.ArgumentParser(
        prog="bench_experience", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--keep", action="store_true", help="leave the testbed running")
    given = parser.parse_args(arguments)
    return reported("experience", lambda folder: measure(given.only, folder, keep=given.keep))


if __name__ == "__main__":
    sys.exit(main())
