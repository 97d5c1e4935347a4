"""Types the commands of docs/install.md, as a reader does who has a cluster and a checkout, and nothing else.

The reader's machine has `kubectl` and `helm`, and reaches package sources and the API server of the cluster.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from testbed import Testbed
from testbed.errors import CommandFailedError
from testbed.forwarding import forwarded
from testbed.site import tracked_files
from testbed.topology import CLOUD, NodeSpec

PAGE = Path("docs/install.md")
NODES = (NodeSpec("edge-a", "gateway"),)
"""Edge nodes of the cluster, beside its server."""
CLASS_LABEL = "edge-intelligence.io/device-class"
INSTALLS, ANSWERS = "helm install ", "ei infer "
"""In the blocks with which the time to the first response begins and ends."""
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "@@ block "


@dataclass(frozen=True)
class Block:
    """A block of commands that was typed. began, ended: seconds by a monotonic clock."""

    text: str
    output: str
    began: float
    ended: float


def blocks(page: str) -> list[str]:
    """Returns the blocks of commands of a page in their order."""
    return _BLOCK.findall(page)


def install_to_answer(typed: Sequence[Block]) -> float:
    """Returns the seconds from the start of the block that installs to the end of the one with a response."""
    installing = next(block for block in typed if INSTALLS in block.text)
    answering = next(block for block in typed if ANSWERS in block.text)
    return answering.ended - installing.began


@contextlib.contextmanager
def api_server(bed: Testbed) -> Iterator[Mapping[str, object]]:
    """Yields a kubeconfig by which this machine reaches the API server of the testbed, and nothing else."""
    config = yaml.safe_load(bed.layout.kubeconfig.read_text())
    far = urlsplit(config["clusters"][0]["cluster"]["server"])
    with forwarded(bed.in_node(CLOUD), str(far.hostname), far.port or 443) as port:
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        yield config


def checkout(root: Path, folder: Path) -> Path:
    """Copies the files of the repository to a folder, without what was built there; returns the folder."""
    for name in tracked_files(root):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
    return folder


def constraints(lock: str) -> str:
    """Returns the versions of a lock file without its hashes: those that were tested together."""
    return re.sub(r"\s*\\\n\s+--hash=\S+", "", lock)


@contextlib.contextmanager
def reader(bed: Testbed, root: Path, folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yields the checkout and the variables of a reader with an empty home folder."""
    home, programs = folder / "home", bed.programs()
    home.mkdir()
    (home / "versions.txt").write_text(constraints((root / "requirements" / "dev.lock").read_text()))
    ours = {str(Path(sys.executable).parent), str(root / ".venv" / "bin")}
    path = [each for each in os.environ.get("PATH", "").split(os.pathsep) if each not in ours]
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    variables = {key: value for key, value in os.environ.items() if key not in left_out} | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(programs), *path]),
        "KUBECONFIG": str(home / "kubeconfig"),
        "PIP_CACHE_DIR": str(bed.layout.cache / "pip"),
        "PIP_CONSTRAINT": str(home / "versions.txt"),
    }
    with api_server(bed) as config:
        (home / "kubeconfig").write_text(yaml.safe_dump(dict(config)))
        yield checkout(root, folder / "checkout"), variables


def typed(bed: Testbed, root: Path, folder: Path) -> Iterator[Block]:
    """Types the blocks of the page into one shell; yields each once it is done.

    Raises CommandFailedError with the output of the block in which a command failed.
    """
    with reader(bed, root, folder) as (here, variables):
        texts = blocks((here / PAGE).read_text(encoding="utf-8"))
        script = folder / "script.sh"
        script.write_text("\n".join(["set -eu", *(f"{text}echo '{_MARK}'" for text in texts), ""]))
        argv = ["bash", str(script)]
        began, lines = time.monotonic(), list[str]()
        with subprocess.Popen(
            argv, cwd=here, env=variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            done = 0
            try:
                for line in process.stdout:
                    if line.strip() != _MARK.strip():
                        lines.append(line)
                        continue
                    ended = time.monotonic()
                    yield Block(texts[done], "".join(lines), began, ended)
                    began, lines, done = ended, [], done + 1
                process.wait()
            finally:
                process.kill()
        if done < len(texts):
            raise CommandFailedError([texts[done]], process.returncode, "".join(lines))


def without_class(bed: Testbed) -> None:
    """Takes the device classes from the nodes, which the testbed gives them and other clusters do not."""
    for node in NODES:
        bed.kubectl("label", "node", node.name, f"{CLASS_LABEL}-")
