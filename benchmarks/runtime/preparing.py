"""Measures how long loading a slice blocks another thread, with both interfaces of onnxruntime.

Run alone: `.venv/bin/python -m benchmarks.runtime.preparing`. A slice of 2 MB and one of 48 MB. The time for
which the kernel gave the CPU to others is subtracted, so the machine can be busy.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import HEAVY, network, put
from edge_runtime.inference.gc_tuning import tune_for_serving
from edge_runtime.inference.sessions import Session
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.tensors import Tensor

_INPUTS, _OUTPUTS = [Tensor("x", "FP32", (-1, 256))], [Tensor("y", "FP32", (-1, 10))]


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """`preparing`: by the slice's size, the median of the longest stalls in ms by each interface, and in a
    read of it from the disk.
    """
    tune_for_serving()
    found: dict[str, object] = {}
    cache = SliceCache(folder / "slices", ModelStore("http://127.0.0.1:9"))
    for name, data in (("2MB", network(1)), ("48MB", network(1, *HEAVY))):
        say(f"loading slices of {name} ...")
        # With a contract by the C interface, without one by the Python interface.
        ways = {"c": (_INPUTS, _OUTPUTS), "python": (None, None)}
        stalls = {
            way: [_stall(partial(Session, data, *contract)) for _ in range(3 if quick else 15)]
            for way, contract in ways.items()
        }
        digest = put(folder, data)["digest"]
        stalls["read_on_one_core"] = [_wait_for_a_read(cache, digest) for _ in range(3 if quick else 15)]
        found[name] = {f"{way}_ms": round(1e3 * median(times), 3) for way, times in stalls.items()}
    return {"preparing": found}


def _stall(work: Callable[[], object]) -> float:
    """Returns the longest time that a thread that wakes every 0.2 ms was runnable but did not run."""
    longest, stop, ready = 0.0, threading.Event(), threading.Event()

    def watch() -> None:
        nonlocal longest
        delays = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        last, waited = time.perf_counter(), _waited(delays)
        ready.set()
        while not stop.is_set():
            time.sleep(0.0002)
            now, more = time.perf_counter(), _waited(delays)
            longest = max(longest, now - last - (more - waited))
            last, waited = now, more
        os.close(delays)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ready.wait()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    return longest


def _wait_for_a_read(cache: SliceCache, digest: str) -> float:
    """Returns the longest time that a busy thread on the core of a read did not run."""
    core = {max(os.sched_getaffinity(0))}
    longest, stop, ready = 0.0, threading.Event(), threading.Event()

    def watch() -> None:
        nonlocal longest
        os.sched_setaffinity(0, core)  # of this thread
        ready.set()
        last = time.perf_counter()
        while not stop.is_set():
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    def read() -> None:
        os.sched_setaffinity(0, core)
        data = cache.read(digest)
        assert data is not None
        data.close()

    watcher, reader = threading.Thread(target=watch), threading.Thread(target=read)
    watcher.start()
    ready.wait()
    reader.start()
    reader.join()
    stop.set()
    watcher.join()
    return longest


def _waited(file: int) -> float:
    return int(os.pread(file, 64, 0).split()[1]) / 1e9


if __name__ == "__main__":
    sys.exit(command("preparing", __doc__, measure))
