"""Serves ONNX files that people run, and compares every response with onnxruntime's: `make models`.

Each file is served alone, measured on its real shapes, cut at every place that the planner would use,
planned, and served by the cluster's runtime on the planned routes. Prints progress to stderr and one JSON
object as its last line. --only selects files by name or kind; --page writes the results of all files into
docs/models.md. --resume keeps the result of each file and does not run it again, so that a run can be ended
and continued. --cluster serves files on the testbed, and the others as above only if --only selects them.
"""

import argparse
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from types import FrameType

from benchmarks.models import servers
from benchmarks.models.catalogue import ModelFile, catalogue, chosen
from benchmarks.models.checking import STEPS, Checked, Site, check
from benchmarks.models.cluster import serve_on_cluster
from benchmarks.models.progress import Progress
from benchmarks.models.reports import page, summary
from benchmarks.models.results import Results
from benchmarks.runtime.commands import say


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the selected files; returns 1 if something of one failed."""
    parser = argparse.ArgumentParser(prog="bench_models", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="files by part of name or kind")
    parser.add_argument("--page", type=Path, help="the page whose table to replace")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep results there, one a line")
    parser.add_argument(
        "--within", type=float, default=inf, metavar="SECONDS", help="begin no file after this time"
    )
    parser.add_argument(
        "--cluster",
        nargs="*",
        default=[],
        metavar="NAME",
        help="files to serve on the testbed, by name",
    )
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, metavar="STEP")
    arguments = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, _terminated)
    if arguments.page is not None and arguments.only and arguments.resume is None:
        parser.error("--page: needs the results of all files: leave out --only, or add --resume FILE")
    every = catalogue()
    models = chosen(every, arguments.only) if arguments.only or not arguments.cluster else []
    results = None if arguments.resume is None else Results(arguments.resume)
    found = checked(models, arguments.steps, results, time.monotonic() + arguments.within)
    if arguments.page is not None:
        _write(arguments.page, every, arguments.steps, results, found)
    result = summary(found)
    if arguments.cluster:
        served = [model for model in every if model.name in arguments.cluster]
        result["cluster"] = serve_on_cluster(served, say)
    print(json.dumps(result))
    services = result.get("cluster", {}).get("files", {}).values()
    failed = any(each.get("failed") or each.get("wrong") for each in services)
    return 1 if result["left_out"] or failed else 0


def checked(
    models: Sequence[ModelFile],
    steps: Sequence[str] = STEPS,
    results: Results | None = None,
    until: float = inf,
) -> list[Checked]:
    """Runs the steps with each file on servers of its own, and prints what is wrong to stderr.

    results: files that have a result there are not run, and those that are run get one. until: value of the
    monotonic clock after which no file is begun; those are left out.
    """
    found: list[Checked] = []
    progress = Progress(sys.stderr)
    with ExitStack() as stack:
        site: Site | None = None
        for number, model in enumerate(models):
            one = results.of(model, steps) if results is not None else None
            if one is None:
                if time.monotonic() > until:
                    continue
                site = site or _site(stack)
                one = check(model, site, steps)
                if results is not None:
                    results.add(model, steps, one)
            found.append(one)
            for step, why in [*one.wrong.items(), *(("equal", said) for said in one.unequal)]:
                print(f"{model.name}: {step}: {why}", file=sys.stderr, flush=True)
            progress(number + 1, len(models), model.name)
    return found


def _site(stack: ExitStack) -> Site:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-models-")))
    store = stack.enter_context(servers.store(folder))
    cloud = stack.enter_context(servers.placed(store.url, folder, "cloud", folder / "cloud.json"))
    entry = stack.enter_context(servers.placed(store.url, folder, servers.NODE, folder / "entry.json"))
    return Site(store, entry, cloud, folder)


def _write(
    path: Path,
    models: Sequence[ModelFile],
    steps: Sequence[str],
    results: Results | None,
    found: Sequence[Checked],
) -> None:
    """Writes the page, unless files lack a result: then it says how many."""
    by_name = {one.name: one for one in found}
    if results is not None:
        kept = {model.name: results.of(model, steps) for model in models}
        by_name = {name: one for name, one in kept.items() if one is not None}
    if missing := [model.name for model in models if model.name not in by_name]:
        say(f"{path}: not written: {len(missing)} files have no result yet, such as {missing[0]}")
        return
    path.write_text(page(path.read_text(), models, [by_name[model.name] for model in models]))


def _terminated(number: int, frame: FrameType | None) -> None:
    """Ends the servers, too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
