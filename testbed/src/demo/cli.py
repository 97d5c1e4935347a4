"""`make demo`: sets up, runs every mode and the tenants, compares them and writes the reports."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from demo import existing_cluster, installation
from demo.client_processes import ClientProcesses
from demo.clusters import DemoCluster, TritonAddress
from demo.console_pictures import picture
from demo.errors import DemoError, NotSuited
from demo.pages import page
from demo.phase_runner import play
from demo.phases import MODES, PARTITION_ONLY, planned
from demo.reports import DemoResult, ModeResult, complaints, document
from demo.services import entry_nodes, routes_line, slo_seconds
from demo.sharing import summaries
from demo.sharing.demonstration import demonstrate
from demo.terminal import comparison, display
from demo.testbed_cluster import TestbedCluster
from demo.training import SCRIPT, TrainedModel, Training
from testbed import TestbedError
from testbed.background import in_background

ROOT = Path(__file__).resolve().parents[3]
INTERRUPTED = 130
MODES_ACT, TENANTS_ACT = ACTS = ("modes", "tenants")


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
        description="Runs one model in each mode while the bandwidth changes, and compares the modes. "
        "Then two tenants share the slowest nodes, and one sends ten times its declared rate.",
    )
    found.add_argument("--cluster", choices=["testbed", "existing"], default="testbed")
    found.add_argument("--keep", action="store_true", help="leave the cluster running at the end")
    found.add_argument("--acts", type=acts, default=ACTS, help=f"comma-separated (default {','.join(ACTS)})")
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
        "--tenant-seconds",
        type=positive,
        default=40.0,
        help="seconds for which a tenant sends ten times its declared rate (default 40)",
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
    return listed(text, "a mode", (*MODES, PARTITION_ONLY))


def acts(text: str) -> tuple[str, ...]:
    """Acts by name, separated by commas."""
    return listed(text, "an act", ACTS)


def listed(text: str, what: str, known: Sequence[str]) -> tuple[str, ...]:
    """Known names, separated by commas."""
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f'"{name}" is not {what}: use {", ".join(known)}, separated by commas'
            )
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


def set_up(cluster: DemoCluster, steps: Steps) -> tuple[TrainedModel, dict[str, float]]:
    """Sets everything up until the service is Ready.

    Returns the model, and the nodes' speeds in cores by device class: none where they cannot be limited.
    """
    training = Training(ROOT / SCRIPT, ROOT / ".cache", steps.say)
    with in_background(training.run, training.stop):
        cluster.start(steps.step, steps.say)
    model = training.model
    speeds = installation.set_speeds(cluster, ROOT, model, steps.say)
    with steps.step("helm install"):
        installation.install(cluster, ROOT)
    with steps.step("upload and apply"):
        steps.say(f"model store has {installation.upload(cluster, model.onnx)}")
        installation.apply(cluster, ROOT)
    with steps.step("ready"):
        installation.wait_ready(cluster, steps.say)
        installation.settle_slo(cluster, ROOT, steps.say)
    return model, speeds


@contextlib.contextmanager
def clients_of(
    arguments: argparse.Namespace, cluster: DemoCluster, model: TrainedModel
) -> Iterator[ClientProcesses]:
    """The clients of the first act at all entry nodes, ready to send; ended at the end."""
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
        yield clients
    finally:
        clients.end()


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
            with display(console, slo) as table:
                phases = planned(arguments.phase_seconds, shaped=cluster.shaped)
                result = play(mode, phases, clients, cluster.set_links, table.show)
                table.close(result)
        except (DemoError, TestbedError) as error:
            result = ModeResult(mode, (), error=str(error))
        if result.error:
            console.print(f"demo: {mode} did not complete: {result.error}", style="red", markup=False)
        results.append(result)
    return results


def run(arguments: argparse.Namespace, cluster: DemoCluster, console: Console) -> int:
    """Runs the demo; returns 0 if all of it ran, and neither Auto nor a tenant lost a request."""
    began = time.monotonic()
    steps = Steps(console)
    with taken_down(cluster, keep=arguments.keep, steps=steps):
        model, speeds = set_up(cluster, steps)
        ready = time.monotonic()
        slo = slo_seconds(installation.service(cluster))
        result = DemoResult([], slo, ready - began, 0.0, steps.seconds)
        if MODES_ACT in arguments.acts:
            with clients_of(arguments, cluster, model) as clients:
                modes = play_modes(arguments, cluster, clients, slo, console, steps)
            result = replace(result, modes=modes, demo_seconds=time.monotonic() - ready)
            with steps.step("picture of the console"):
                result = replace(result, console=picture(cluster, steps.say))
            console.print(comparison(write(result, arguments.report_dir)))
        if TENANTS_ACT in arguments.acts:
            tenants = demonstrate(
                cluster,
                model,
                speeds,
                seconds=arguments.tenant_seconds,
                timeout=arguments.timeout,
                console=console,
                step=steps.step,
                say=steps.say,
            )
            result = replace(result, tenants=tenants)
        report = write(result, arguments.report_dir)
        wrong = failures(report, arguments)
        conclude(console, arguments, report, wrong, cluster)
    return 1 if wrong else 0


def failures(report: Mapping[str, Any], arguments: argparse.Namespace) -> list[str]:
    """Returns why the demo failed."""
    found = complaints(report, arguments.modes) if MODES_ACT in arguments.acts else []
    return found + (summaries.complaints(report["tenants"]) if TENANTS_ACT in arguments.acts else [])


def write(result: DemoResult, folder: Path) -> dict[str, Any]:
    """Writes report.json and report.html."""
    report = document(result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "report.html").write_text(page(result, report))
    return report


def conclude(
    console: Console,
    arguments: argparse.Namespace,
    report: Mapping[str, Any],
    wrong: Sequence[str],
    cluster: DemoCluster,
) -> None:
    """Prints what the tenants got, where the reports are, the failures, and commands to try next."""
    lines = tenant_lines(report["tenants"]) if report["tenants"] else []
    lines += [
        f"setup {report['setup_s']} s, modes {report['demo_s']} s, {arguments.report_dir / 'report.html'}"
    ]
    lines += wrong
    if wrong:
        lines += ["where to look:", *(f"  {place}" for place in cluster.where_to_look())]
    if arguments.keep or arguments.cluster == "existing":
        lines += ["the cluster keeps running; try:", *(f"  {command}" for command in cluster.try_next())]
    for line in lines:
        console.print(f"demo: {line}", highlight=False, markup=False, soft_wrap=True)


def tenant_lines(report: Mapping[str, Any]) -> list[str]:
    """Returns the Tenants as kubectl listed them while one sent too much, and what each of them got."""
    shown = report["kubectl_get_tenants"].splitlines()
    return [
        *(["kubectl get tenants, while one sent too much:"] if shown else []),
        *shown,
        *summaries.sentences(report),
    ]


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handles a termination like an interruption."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 on success, 1 if requests were lost or a part failed, 130 if interrupted and torn down."""
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
