"""`make demo`: sets up, runs every mode, compares them and writes the reports."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo import existing_cluster, installation
from demo.client_processes import ClientProcesses
from demo.clusters import DemoCluster, TritonAddress
from demo.errors import DemoError, NotSuited
from demo.pages import page
from demo.phase_runner import play
from demo.phases import MODES, PARTITION_ONLY, planned
from demo.reports import DemoResult, ModeResult, complaints, document
from demo.services import entry_nodes, routes_line, slo_seconds
from demo.terminal import Display, comparison
from demo.testbed_cluster import TestbedCluster
from demo.training import SCRIPT, TrainedModel, Training
from testbed import TestbedError
from testbed.background import in_background

ROOT = Path(__file__).resolve().parents[3]
INTERRUPTED = 130


class Steps:
    """Prints each step with its duration in seconds, and keeps these for the report."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step; does not record one that fails."""
        self.say(f"{name} …")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self._console.print(
            f"demo: {name}: {self.seconds[name]:.1f} s", style="bold", highlight=False, markup=False
        )

    def say(self, line: str) -> None:
        self._console.print(f"demo:   {line}", highlight=False, markup=False, style="dim")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="demo",
        description="Runs one model in each mode while the bandwidth changes, and compares the modes.",
    )
    found.add_argument("--cluster", choices=["testbed", "existing"], default="testbed")
    found.add_argument("--keep", action="store_true", help="leave the cluster running at the end")
    found.add_argument(
        "--modes", type=modes, default=MODES, help=f"comma-separated (default {','.join(MODES)})"
    )
    found.add_argument(
        "--phase-seconds",
        type=positive,
        default=7.0,
        help="seconds for which a link rate is kept (default 7)",
    )
    found.add_argument(
        "--rate", type=positive, default=3.0, help="requests per second at each entry node (default 3)"
    )
    found.add_argument(
        "--timeout", type=positive, default=5.0, help="seconds after which a request is lost (default 5)"
    )
    found.add_argument("--report-dir", type=Path, default=ROOT / "build" / "demo")
    found.add_argument("--triton", help="existing cluster: host:port of a Triton server's HTTP endpoint")
    found.add_argument("--triton-backend", choices=["onnxruntime", "python"], default="onnxruntime")
    return found


def modes(text: str) -> tuple[str, ...]:
    """Modes by name, separated by commas."""
    names = tuple(text.split(","))
    for name in names:
        if name not in (*MODES, PARTITION_ONLY):
            known = ", ".join((*MODES, PARTITION_ONLY))
            raise argparse.ArgumentTypeError(f'"{name}" is not a mode: use {known}, separated by commas')
    return names


def positive(text: str) -> float:
    """Returns a number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f'"{text}" must be greater than 0')
    return number


def cluster_of(arguments: argparse.Namespace) -> DemoCluster:
    """Returns the selected cluster. Raises NotSuited with what an existing one needs."""
    if arguments.cluster == "testbed":
        return TestbedCluster(ROOT)
    if not arguments.triton:
        raise NotSuited(
            "--cluster existing needs --triton HOST:PORT: the HTTP address, as pods see it, of a Triton "
            "server started with --model-control-mode=explicit"
        )
    return existing_cluster.ExistingCluster(
        existing_cluster.images_from(os.environ), TritonAddress(arguments.triton, arguments.triton_backend)
    )


@contextlib.contextmanager
def taken_down(cluster: DemoCluster, *, keep: bool, steps: Steps) -> Iterator[None]:
    """Tears the cluster down at the end, unless it is to be kept and the demo is not interrupted."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        keep = False
        raise
    finally:
        if not keep:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            with steps.step("down"):
                cluster.stop()


def set_up(cluster: DemoCluster, steps: Steps) -> TrainedModel:
    """Sets everything up until the service is Ready."""
    training = Training(ROOT / SCRIPT, ROOT / ".cache", steps.say)
    with in_background(training.run, training.stop):
        cluster.start(steps.step, steps.say)
    model = training.model
    installation.set_speeds(cluster, ROOT, model, steps.say)
    with steps.step("helm install"):
        installation.install(cluster, ROOT)
    with steps.step("upload and apply"):
        steps.say(f"model store has {installation.upload(cluster, model.onnx)}")
        installation.apply(cluster, ROOT)
    with steps.step("ready"):
        installation.wait_ready(cluster, steps.say)
        installation.settle_slo(cluster, ROOT, steps.say)
    return model


def play_modes(
    arguments: argparse.Namespace,
    cluster: DemoCluster,
    clients: ClientProcesses,
    slo: float,
    console: Console,
    steps: Steps,
) -> list[ModeResult]:
    """Runs every mode; records one that fails, and continues with the next."""
    results = []
    for mode in arguments.modes:
        try:
            with steps.step(f"mode {mode}"):
                installation.set_mode(cluster, mode)
                for placement in installation.placements(cluster):
                    steps.say(routes_line(placement))
            with Display(console, slo) as display:
                phases = planned(arguments.phase_seconds, shaped=cluster.shaped)
                result = play(mode, phases, clients, cluster.set_links, display.show)
                display.close(result)
        except (DemoError, TestbedError) as error:
            result = ModeResult(mode, (), error=str(error))
        if result.error:
            console.print(f"demo: {mode} did not complete: {result.error}", style="red", markup=False)
        results.append(result)
    return results


def run(arguments: argparse.Namespace, cluster: DemoCluster, console: Console) -> int:
    """Runs the demo; returns 0 if every mode ran and Auto lost no request."""
    began = time.monotonic()
    steps = Steps(console)
    with taken_down(cluster, keep=arguments.keep, steps=steps):
        model = set_up(cluster, steps)
        ready = time.monotonic()
        slo = slo_seconds(installation.service(cluster))
        nodes = entry_nodes(installation.placements(cluster))
        clients = ClientProcesses(
            installation.entrances(cluster, nodes),
            {node: ("http", "grpc")[index % 2] for index, node in enumerate(nodes)},
            model=installation.SERVICE,
            rate=arguments.rate,
            timeout=arguments.timeout,
            held_out=model.held_out,
        )
        try:
            modes = play_modes(arguments, cluster, clients, slo, console, steps)
        finally:
            clients.end()
        ended = time.monotonic()
        result = DemoResult(modes, slo, ready - began, ended - ready, steps.seconds)
        report = write(result, arguments.report_dir)
        wrong = complaints(report, arguments.modes)
        console.print(comparison(report))
        conclude(console, arguments, report, wrong, cluster)
    return 1 if wrong else 0


def write(result: DemoResult, folder: Path) -> dict[str, object]:
    """Writes report.json and report.html."""
    report = document(result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "report.html").write_text(page(result, report))
    return report


def conclude(
    console: Console,
    arguments: argparse.Namespace,
    report: dict[str, object],
    wrong: Sequence[str],
    cluster: DemoCluster,
) -> None:
    """Prints where the reports are, the failures, and commands to try next."""
    lines = [
        f"setup {report['setup_s']} s, modes {report['demo_s']} s, {arguments.report_dir / 'report.html'}"
    ]
    lines += wrong
    if wrong:
        lines += ["where to look:", *(f"  {place}" for place in cluster.where_to_look())]
    if arguments.keep:
        lines += ["the cluster keeps running; try:", *(f"  {command}" for command in cluster.try_next())]
    for line in lines:
        console.print(f"demo: {line}", highlight=False, markup=False, soft_wrap=True)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handles a termination like an interruption."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 on success, 1 if Auto lost a request or a mode failed, 130 if interrupted and torn down."""
    arguments = parser().parse_args(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    cluster: DemoCluster | None = None
    try:
        cluster = cluster_of(arguments)
        return run(arguments, cluster, console)
    except KeyboardInterrupt:
        console.print("demo: interrupted; the cluster is torn down", style="red")
        return INTERRUPTED
    except (DemoError, TestbedError) as error:
        console.print(f"demo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        for place in cluster.where_to_look() if cluster else ():
            console.print(f"demo: look at {place}", highlight=False, markup=False, soft_wrap=True)
        return 1
