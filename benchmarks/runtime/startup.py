"""Measures the time from the start of `edge-runtime run` to its first response, with slices on disk.

Run alone: `.venv/bin/python -m benchmarks.runtime.startup [--quick]`. Uses quotas of one core and of a fifth
of one if control groups can be created, otherwise no quota. There is neither an API server nor a model store.
Two routes, one slice of 2 MB and one of 48 MB. Times in seconds; `cpu_s` is the CPU time, which depends least
on other load. `untried_s` is the very first start, which tries both slices in a process of their own.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import HEAVY, document, network, put, route
from testbed.cgroups import ControlGroups

_CORES: Final = (1.0, 0.2)
_GROUP: Final = "bench-startup"
_GIVE_UP: Final = 60.0


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `startup`: by cores, the median and maximum time to the first response, and the CPU time."""
    _fill(folder)
    found: dict[str, object] = {}
    for cores in _CORES:
        say(f"starting with {cores:g} cores ...")
        shutil.rmtree(folder / "trials", ignore_errors=True)
        with _quota(cores) as group:
            untried, _ = _start(folder, group)
            starts = [_start(folder, group) for _ in range(1 if quick else 5)]
        times, spent = zip(*starts, strict=True)
        name = f"{cores:g}" if group is not None else "without a quota"
        found[name] = {
            "p50_s": round(median(times), 3),
            "max_s": round(max(times), 3),
            "cpu_s": round(median(spent), 3),
            "untried_s": round(untried, 3),
        }
        if group is None:
            break
    return {"startup": found}


def _fill(folder: Path) -> None:
    """The cache of a node that has served before."""
    slices = put(folder, network(1)), put(folder, network(2, *HEAVY))
    placed = document(1, route("heavy", slices[1], "1G"), route("light", slices[0]))
    (folder / "placement.json").write_text(json.dumps(placed))


def _start(folder: Path, group: Path | None) -> tuple[float, float]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "edge-runtime"), "run", "--service", "bench"]
    command += ["--namespace", "default", "--node", "here", "--store", "http://127.0.0.1:9"]
    command += ["--cache-dir", str(folder), "--placement-file", str(folder / "placement.json")]
    command += ["--host", "127.0.0.1", "--http-port", str(port), "--grpc-port", "0"]
    enter = f"echo $$ > {group}/cgroup.procs; " if group is not None else ""
    begin = time.perf_counter()
    with subprocess.Popen(
        ["sh", "-c", f'{enter}exec "$@"', "sh", *command], stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not _answers(port):
                if process.poll() is not None or time.perf_counter() - begin > _GIVE_UP:
                    raise RuntimeError(f"no response from {' '.join(command)}")
                time.sleep(0.005)
            return time.perf_counter() - begin, _spent(process.pid)
        finally:
            process.terminate()


def _spent(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(port: int) -> bool:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 256], "data": [0.0] * 256}]
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("POST", "/v2/models/bench/infer", json.dumps({"inputs": inputs}))
        return connection.getresponse().status == 200
    return False


@contextlib.contextmanager
def _quota(cores: float) -> Iterator[Path | None]:
    """Returns the folder of a control group with this quota; None if it cannot be created."""
    groups = ControlGroups.of_machine(_GROUP)
    folder = next(
        (
            root / "node"
            for root, (_, kind) in zip(groups.roots, groups.mounted, strict=True)
            if kind == "cgroup2" or root.parent.name.startswith("cpu")
        ),
        None,
    )
    if os.geteuid() != 0 or folder is None:
        yield None
        return
    try:
        groups.create("node")
        groups.set_speed("node", cores)
        limited = any((folder / name).exists() for name in ("cpu.max", "cpu.cfs_quota_us"))
        yield folder if limited else None
    finally:
        groups.remove()


if __name__ == "__main__":
    sys.exit(command("startup", __doc__, measure))
