"""The systemd units that are installed on a node, which its machine starts at boot as systemd would.

Only what the project's units use: `multi-user.target` starts a service whose ExecStart is one command, with
the variables in Environment; it is started again after it failed, and with `Restart=always` also after it
ended. Dependencies, users and sandboxing are ignored.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from testbed.processes import DaemonSpec

FOLDER = Path("/etc/systemd/system")
_WANTED = "multi-user.target.wants"


def daemons(folder: Path, node: str) -> list[DaemonSpec]:
    """Returns the services that are enabled in the folder of a node's units."""
    links = sorted((folder / _WANTED).glob("*.service"))
    return [found for link in links if (found := service(folder / link.name, node)) is not None]


def service(file: Path, node: str) -> DaemonSpec | None:
    """Returns the program of a unit's file; None for a link to a file that does not exist."""
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return None
    found = [line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#")]
    values = dict(found)
    command = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(values["ExecStart"])]
    environment = dict(value.partition("=")[::2] for key, value in found if key == "Environment")
    once = values.get("Restart", "no") != "always"
    return DaemonSpec(f"{file.stem}-{node}", command, env=environment, once=once)
