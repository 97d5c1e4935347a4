"""Serves ONNX files that people run, and compares every response with onnxruntime's: `make models`.

Each file is served alone, measured on its real shapes, cut at every place that the planner would use,
planned, and served by the cluster's runtime on the planned routes. Prints progress to stderr and one JSON
object as its last line. --only selects files by name or kind; --page writes the table of docs/models.md.
--cluster serves files on the testbed, and the others as above only if --only selects them.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.models import servers
from benchmarks.models.catalogue import ModelFile, catalogue
from benchmarks.models.checking import STEPS, Checked, Site, check
from benchmarks.models.cluster import serve_on_cluster
from benchmarks.models.progress import Progress
from benchmarks.models.reports import page, summary
from benchmarks.runtime.commands import say


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the selected files; returns 1 if something of one failed."""
    parser = argparse.ArgumentParser(prog="bench_models", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="files by part of name or kind")
    parser.add_argument("--page", type=Path, help="the page whose table to replace")
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
    models = catalogue(arguments.only) if arguments.only or not arguments.cluster else []
    found = checked(models, arguments.steps)
    if arguments.page is not None:
        arguments.page.write_text(page(arguments.page.read_text(), models, found))
    result = summary(found)
    if arguments.cluster:
        chosen = [model for model in catalogue(arguments.cluster) if model.name in arguments.cluster]
        result["cluster"] = serve_on_cluster(chosen, say)
    print(json.dumps(result))
    return 1 if result["left_out"] else 0


def checked(models: Sequence[ModelFile], steps: Sequence[str] = STEPS) -> list[Checked]:
    """Runs the steps with each file on servers of its own, and prints what is wrong to stderr."""
    found: list[Checked] = []
    progress = Progress(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-models-") as name, ExitStack() as stack:
        folder = Path(name)
        store = stack.enter_context(servers.store(folder))
        cloud = stack.enter_context(servers.placed(store.url, folder, "cloud", folder / "cloud.json"))
        entry = stack.enter_context(servers.placed(store.url, folder, servers.NODE, folder / "entry.json"))
        for number, model in enumerate(models):
            one = check(model, Site(store, entry, cloud, folder), steps)
            found.append(one)
            for step, why in [*one.wrong.items(), *(("equal", said) for said in one.unequal)]:
                print(f"{model.name}: {step}: {why}", file=sys.stderr, flush=True)
            progress(number + 1, len(models), model.name)
    return found


if __name__ == "__main__":
    sys.exit(main())
