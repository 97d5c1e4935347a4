"""The command `testbed`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from testbed import images
from testbed.bed import CLIENTS, NOT_RUNNING, Testbed
from testbed.errors import BadValueError, NotRunningError, TestbedError
from testbed.forwarding import forwarded
from testbed.progress import print_line
from testbed.rates import format_rate, parse_loss, parse_rate
from testbed.topology import CLOUD, NodeSpec, checked_speed, edge_nodes, parse_likeness, parse_node

PASSED_ON = CLIENTS


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    top = argparse.ArgumentParser(
        prog="testbed",
        description="A real multi-node Kubernetes cluster on this machine, with shaped links.",
        epilog="State and logs are in .testbed, caches in .cache. See `testbed COMMAND --help`.",
    )
    top.add_argument(
        "--root", type=Path, default=None, help="the checkout (default: the one that contains this folder)"
    )
    top.add_argument(
        "--cache", type=Path, default=None, help="the cache folder (default: .cache of the checkout)"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot the cluster; does nothing if it runs, cleans up after a crash")
    up.add_argument(
        "--nodes",
        nargs="+",
        metavar="NODE",
        help="number of edge nodes (3), or each as name:class or name:class:speed, e.g. edge-a:gateway:0.4",
    )
    up.add_argument(
        "--images", action="store_true", help="build the operator's and the runtime's images and import them"
    )
    up.add_argument(
        "--like",
        default="upstream",
        metavar="WHAT",
        help="upstream (default), or k3s: built from parts of K3s",
    )
    up.add_argument("--triton", action="store_true", help="run a Triton server on the cloud node")
    up.add_argument("--prometheus", action="store_true", help="run Prometheus on the cloud side")

    commands.add_parser("build", help="build the cluster's programs and images into the cache; start nothing")
    commands.add_parser("down", help="tear the cluster down; keeps the logs until the next `up`")
    commands.add_parser(
        "status", help="show nodes, links and daemons; exits with 1 if the cluster is not running"
    )
    for program in PASSED_ON:
        commands.add_parser(program, help=f"run {program} against the cluster with all further arguments")
    shell = commands.add_parser(
        "shell", help="open a shell, or run a program, with kubectl and helm on its path, in a node's network"
    )
    shell.add_argument("--at", default=CLOUD, metavar="NODE", help=f"the node (default: {CLOUD})")
    shell.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="the program and its arguments"
    )

    forward = commands.add_parser(
        "forward", help="make a Service of the cluster reachable at a port of this machine until interrupted"
    )
    forward.add_argument("service", metavar="NAMESPACE/SERVICE", help="e.g. edge-intelligence/edge-console")
    forward.add_argument("--port", type=int, default=8080, help="port of this machine (default: 8080)")

    link = commands.add_parser("link", help="shape, cut or restore a node's access link, both directions")
    link.add_argument("node", metavar="NODE")
    what = link.add_mutually_exclusive_group(required=True)
    what.add_argument("--rate", metavar="RATE", help="bit/s, e.g. 250k or 2M; none: no limit")
    what.add_argument("--loss", metavar="SHARE", help="share of packets to lose, e.g. 0.01; none: no loss")
    what.add_argument("--cut", action="store_true", help="cut the link")
    what.add_argument("--restore", action="store_true", help="restore the link")

    klass = commands.add_parser("class", help="set the speed of a node")
    klass.add_argument("node", metavar="NODE")
    klass.add_argument(
        "--speed", required=True, metavar="SPEED", help="cores for all of its pods, e.g. 0.2; none: no limit"
    )

    node = commands.add_parser("node", help="a power cut or a power cycle of a node")
    node.add_argument("node", metavar="NODE")
    power = node.add_mutually_exclusive_group(required=True)
    power.add_argument("--kill", action="store_true", help="end all processes of the node immediately")
    power.add_argument(
        "--reboot",
        action="store_true",
        help="end all processes of the node and start them again, with its systemd units",
    )
    node.add_argument("--offline", action="store_true", help="with --reboot: the link stays cut")

    logs = commands.add_parser("logs", help="list the log files, or print the end of one")
    logs.add_argument("daemon", nargs="?", metavar="DAEMON", help="e.g. kubelet-edge-a")
    logs.add_argument("--lines", type=int, default=50, metavar="N")
    return top


def nodes_of(texts: Sequence[str] | None) -> list[NodeSpec] | None:
    """Returns the edge nodes of --nodes, or None for the default."""
    if texts is None:
        return None
    if len(texts) == 1 and texts[0].isdigit():
        return list(edge_nodes(int(texts[0])))
    return [parse_node(text) for text in texts]


def checkout(start: Path) -> Path:
    """Returns the checkout that contains `start`."""
    for folder in (start, *start.parents):
        if (folder / "testbed" / "src" / "testbed").is_dir():
            return folder
    raise BadValueError(f"{start} is not in a checkout of this project: change to one, or pass --root")


def show_status(bed: Testbed) -> int:
    """Prints the state; returns 1 if the cluster is not running."""
    status = bed.status()
    if not status["running"]:
        print(NOT_RUNNING)
        return 1
    print(f"{'NODE':<14}{'CLASS':<10}{'SPEED':<8}{'ADDRESS':<14}{'STATE':<12}LINK")
    for name, node in status["nodes"].items():
        state = "Ready" if node["ready"] else "NotReady"
        state = state if node["powered"] else "off"
        link = format_rate(node["link_bps"]) if node["link_up"] else "cut"
        speed = "-" if node["speed"] is None else f"{node['speed']:g}"
        print(f"{name:<14}{node['device_class']:<10}{speed:<8}{node['address']:<14}{state:<12}{link}")
    for name, daemon in status["daemons"].items():
        if not daemon["running"] or daemon["starts"] > 1:
            print(f"{name}: {'' if daemon['running'] else 'not '}running, started {daemon['starts']} times")
    return 0


def show_logs(bed: Testbed, daemon: str | None, lines: int) -> int:
    """Prints the names of the logs, or the end of one log."""
    logs = sorted(bed.layout.logs.glob("*.log"))
    if daemon is None:
        print(
            "\n".join(str(path) for path in logs)
            or f"no logs in {bed.layout.logs}: start the testbed with `testbed up`"
        )
        return 0
    for path in logs:
        if path.stem == daemon:
            print("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))
            return 0
    raise BadValueError(f"no log {daemon!r}; there are {', '.join(path.stem for path in logs) or 'none'}")


def bring_up(bed: Testbed, args: argparse.Namespace) -> None:
    """Runs `testbed up`, with the requested images and servers."""
    nodes, was_there = nodes_of(args.nodes), bed.running()
    try:
        wanted = [images.operator_image, images.runtime_image] if args.images else []
        like = parse_likeness(args.like)
        bed.up(nodes, print_line, [*wanted, *([images.triton_image] if args.triton else [])], like)
        if args.images:
            bed.images(print_line, images.CHART_NAMES)
        if args.triton:
            bed.start_triton(print_line)
        if args.prometheus:
            bed.start_prometheus(print_line)
    except SystemExit:  # interrupted
        if not was_there:
            sys.stderr.write("testbed: tearing the cluster down\n")
            bed.down()
        raise


def forward(bed: Testbed, service: str, port: int) -> int:
    """Forwards a port of this machine to the first port of a Service, until the command is interrupted."""
    namespace, _, name = service.partition("/")
    if not name:
        raise BadValueError(f"{service!r}: name a Service as NAMESPACE/SERVICE")
    spec = json.loads(bed.kubectl("get", "service", name, "-n", namespace, "-o", "json"))["spec"]
    try:
        with forwarded(bed.in_node(CLOUD), spec["clusterIP"], spec["ports"][0]["port"], port) as local:
            print_line(f"http://localhost:{local}")
            signal.pause()
    except OSError as error:
        raise BadValueError(f"--port {port}: {error.strerror}: choose another one") from None
    except SystemExit:
        return 0
    return 0


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits the arguments into the testbed's own and those of the program that it runs."""
    for place, word in enumerate(argv):
        if word == "shell":  # its program may be one of these
            break
        if word in PASSED_ON:
            return list(argv[: place + 1]), list(argv[place + 1 :])
    return list(argv), []


def run_command(args: argparse.Namespace, passed_on: Sequence[str]) -> int:
    """Executes the command; returns the exit status."""
    bed = Testbed.of_checkout(args.root or checkout(Path.cwd()), args.cache)
    match args.command:
        case "up":
            bring_up(bed, args)
        case "build":
            bed.build(print_line)
        case "down":
            bed.down()
        case "status":
            return show_status(bed)
        case "kubectl" | "helm":
            argv = bed.client_command(args.command, passed_on)
            os.execvp(argv[0], argv)  # noqa: S606 - the program takes this process's place, terminal and exit status
        case "shell":
            argv, variables = bed.shell_command(args.at, args.program)
            os.execvpe(argv[0], argv, variables)  # noqa: S606 - as above
        case "forward":
            return forward(bed, args.service, args.port)
        case "link":
            rate = parse_rate(args.rate) if args.rate else None
            loss = parse_loss(args.loss) if args.loss else None
            link = bed.link(args.node)
            if args.cut:
                link.cut()
            elif args.loss:
                link.set_loss(loss)
            elif args.restore:
                link.restore()
            else:
                link.set_rate(rate)
        case "class":
            speed = parse_speed(args.speed)
            bed.node(args.node).set_speed(speed)
        case "node":
            if args.kill and args.offline:
                raise BadValueError("--offline goes with --reboot: a killed node has no network anyway")
            node = bed.node(args.node)
            node.kill() if args.kill else node.reboot(offline=args.offline)
        case "logs":
            return show_logs(bed, args.daemon, args.lines)
    return 0


def parse_speed(text: str) -> float | None:
    """Parses a speed in cores; `none` means no limit."""
    if text == "none":
        return None
    try:
        return checked_speed(float(text))
    except ValueError:
        raise BadValueError(
            f"--speed {text}: not a number; use a share of a core, e.g. 0.2, or none for no limit"
        ) from None


def _interrupted(number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # ignore further ones: the teardown has begun
    sys.stderr.write("testbed: interrupted\n")
    raise SystemExit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 refused or failed (3: not running), 2 wrong arguments."""
    own, passed_on = split(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(own)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        return run_command(args, passed_on)
    except NotRunningError as error:
        sys.stderr.write(f"testbed: {error}\n")
        return 3
    except TestbedError as error:
        sys.stderr.write(f"testbed: {error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
