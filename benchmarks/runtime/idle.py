"""Measures the first request to a service that has let go of its sessions: `edge-runtime run` over HTTP.

Run alone: `.venv/bin/python -m benchmarks.runtime.idle [--quick]`. There is neither an API server nor a model
store. One local route each, by a slice of 2 MB and by one of 48 MB. `first_ms` is the first request after 1 s
without one, and `load_ms` what the runtime measured for loading the session of the same request: reading the
slice, opening it, and warming it up. The aim is that `over_ms`, the median of their differences, stays below
20 ms. `warm_ms` is a request to loaded sessions. Memory is that of the runtime's process.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final
from urllib.request import urlopen

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import HEAVY, document, network, put, route

_SLICES: Final = {"2MB": network(1), "48MB": network(2, *HEAVY)}
_GIVE_UP: Final = 60.0
_AIM: Final = 20.0


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """`idle`: by the slice's size, medians in ms, and the resident memory in MB with and without sessions."""
    found: dict[str, object] = {}
    for name, data in _SLICES.items():
        say(f"a first request that loads {name} ...")
        found[name] = _measured(folder / name, data, rounds=2 if quick else 11)
    return {"idle": found | {"aim_over_ms": _AIM}}


def _measured(folder: Path, data: bytes, rounds: int) -> dict[str, float]:
    folder.mkdir()
    slice_ = put(folder, data)
    placed = document(1, route("only", slice_))
    placed["spec"]["idle"] = {"after": "1s"}
    (folder / "placed.json").write_text(json.dumps(placed))
    loads, firsts, warm, held, idle = (list[float]() for _ in range(5))
    with _runtime(folder) as port:
        _until(lambda: _request(port) is not None)
        for _ in range(rounds):
            warm.append(_answered(port))
            held.append(_metric(port, "edge_resident_bytes"))
            _until(lambda: _metric(port, "edge_idle") == 1.0)
            _until_trimmed(port, idle)
            firsts.append(_answered(port))
            loads.append(_metric(port, "edge_session_load_seconds"))
    over = [first - load for first, load in zip(firsts, loads, strict=True)]
    return {
        "load_ms": round(1e3 * median(loads), 2),
        "first_ms": round(1e3 * median(firsts), 2),
        "over_ms": round(1e3 * median(over), 2),
        "over_max_ms": round(1e3 * max(over), 2),
        "warm_ms": round(1e3 * median(warm), 2),
        "loaded_mb": round(median(held) / 1e6, 1),
        "idle_mb": round(median(idle) / 1e6, 1),
    }


@contextmanager
def _runtime(folder: Path) -> Iterator[int]:
    """A runtime with the placement in the folder; returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [str(Path(sys.executable).parent / "edge-runtime"), "run", "--service", "bench"]
    argv += ["--namespace", "default", "--node", "here", "--store", "http://127.0.0.1:9"]
    argv += ["--cache-dir", str(folder), "--placement-file", str(folder / "placed.json")]
    argv += ["--host", "127.0.0.1", "--http-port", str(port), "--grpc-port", "0"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


def _answered(port: int) -> float:
    seconds = _request(port)
    if seconds is None:
        raise RuntimeError("a request failed")
    return seconds


def _request(port: int) -> float | None:
    """Returns the seconds of a request on a connection of its own; None without a response."""
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 256], "data": [0.0] * 256}]
    body = json.dumps({"inputs": inputs})
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.connect()
        begin = time.perf_counter()
        connection.request("POST", "/v2/models/bench/infer", body)
        response = connection.getresponse()
        response.read()
        return time.perf_counter() - begin if response.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def _metric(port: int, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


def _until_trimmed(port: int, sizes: list[float]) -> None:
    """Appends the memory once it no longer falls: malloc returns it a moment after sessions are freed."""
    before = _metric(port, "edge_resident_bytes")
    while True:
        time.sleep(1.5)
        now = _metric(port, "edge_resident_bytes")
        if now >= before:
            break
        before = now
    sizes.append(now)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _GIVE_UP
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {_GIVE_UP:g} s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(command("idle", __doc__, measure))
