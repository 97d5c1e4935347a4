"""The flags of `serve-node`, `install-unit` and `remove-unit`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge_runtime.errors import BadRequest
from edge_runtime.flag_values import duration as _duration

NAME: Final = "edge-runtime"
FOLDER: Final = "/var/lib/edge-runtime"
COMMANDS: Final = ("serve", "serve-node")
"""What a unit can run."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands."""
    standing_in = commands.add_parser(
        "serve-node", help="serve this node's services from its disk until Kubernetes starts their pods"
    )
    standing_in.add_argument(
        "--kubelet-dir",
        type=Path,
        default="/var/lib/kubelet",
        help="root folder of the kubelet, with the folders of pods (default %(default)s)",
    )
    standing_in.add_argument(
        "--dir", type=Path, default=FOLDER, help="folder for files while it serves (default %(default)s)"
    )
    standing_in.add_argument("--nft", type=Path, default="/usr/sbin/nft", help="nft (default %(default)s)")
    standing_in.add_argument(
        "--after",
        type=_duration,
        default="30s",
        metavar="DURATION",
        help="time that the kubelet has to start the pods (default 30s)",
    )
    standing_in.add_argument(
        "--user",
        type=int,
        default=65532,
        metavar="ID",
        help="user and group that serve (default %(default)s, as in pods)",
    )
    standing_in.add_argument(
        "--unit-file", type=Path, metavar="FILE", help="end when this file is removed (default: none)"
    )

    installing = commands.add_parser(
        "install-unit", help="install a systemd unit that runs a command of this program with the host"
    )
    _add_place(installing)
    installing.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help=f"-- and the command with its flags: {' or '.join(COMMANDS)}",
    )
    removing = commands.add_parser("remove-unit", help="stop and remove a unit of install-unit and its files")
    _add_place(removing)


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", default=NAME, help="name of the unit (default %(default)s)")
    command.add_argument(
        "--dir",
        type=Path,
        default=None,
        help=f"folder of the host for its files, deleted with it (default {FOLDER}, or with another --name "
        "that name in the same place)",
    )
    command.add_argument(
        "--host",
        type=Path,
        default="/",
        metavar="FOLDER",
        help="where the root folder of the host is mounted: then this program is copied to --dir (default: "
        "this process runs on the host itself)",
    )


def run(arguments: argparse.Namespace, parse: Callable[[Sequence[str]], argparse.Namespace]) -> int:
    """Runs one of the commands. parse: reads the command of a unit. Raises BadRequest and CannotInstall."""
    if arguments.command == "serve-node":
        from edge_runtime.stand_in.process import Options, StandIn

        program = (sys.executable, "-m", "edge_runtime.cli")
        StandIn(
            Options(
                program,
                arguments.kubelet_dir,
                arguments.dir,
                arguments.nft,
                arguments.after,
                arguments.unit_file,
                arguments.user,
            )
        ).run()
        return 0
    from edge_runtime.stand_in.installing import UNITS, Place, install, remove

    name = arguments.name
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 100:
        raise BadRequest(f'--name "{name}": write up to 100 letters, digits, - and _')
    folder = arguments.dir or Path(FOLDER).with_name(name)
    if not folder.is_absolute() or len(folder.parts) < 3:
        raise BadRequest(f"--dir {folder}: it is deleted with the unit: write a folder such as {FOLDER}")
    place = Place(arguments.host, folder, name)
    if arguments.command == "remove-unit":
        remove(place)
        sys.stdout.write(f"removed the unit {name} and {folder}\n")
        return 0
    words = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
    if not words or words[0] not in COMMANDS:
        raise BadRequest(f"COMMAND: missing: write -- and the command, {' or '.join(COMMANDS)}, at the end")
    found = parse(words)
    if words[0] == "serve" and not found.model.is_absolute():
        raise BadRequest(f"{found.model}: a unit has no working folder: write an absolute path")
    redirects = words[0] == "serve-node"
    if redirects:
        words = [*words, "--dir", str(folder), "--unit-file", str(Path("/", UNITS, f"{name}.service"))]
    unit = install(place, words, redirects=redirects, program=_program())
    sys.stdout.write(f"installed the unit {name} of version {unit.version}\n")
    return 0


def _program() -> str:
    """The path of this program's start script."""
    script = Path(sys.executable).with_name("edge-runtime")
    return str(script if script.exists() else Path(sys.argv[0]).resolve())
