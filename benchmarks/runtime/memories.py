"""Measures a session's memory relative to its file.

Run alone: `.venv/bin/python -m benchmarks.runtime.memories [--quick]`. A file of convolutions and one of
dense layers are loaded as a runtime loads slices, several times, each in a process of its own in which
onnxruntime has loaded another one before. Medians in MB: the `file`; the additional memory of the process at
most `while_loading`, once the session is `loaded` and was run, with three of them `loaded_thrice`, and what
is `left` some time after all three were freed. `peak_ratio` is the maximum while loading divided by the file:
the runtime packs the weights of a slice only if `edge_runtime.inference.memory.FROM_DISK` times its size is
free.
"""

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import HEAVY, WIDTH, network, put
from benchmarks.runtime.sharing import model
from edge_runtime.connections import Resolver
from edge_runtime.inference.memory import resident
from edge_runtime.inference.sessions import Session
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.tensors import Tensor

_SETTLING: Final = 1.0
_DENSE: Final = (1536, 12)  # width and layers: 97 MB
_ROWS: Final = (Tensor("x", "FP32", (-1, WIDTH)), Tensor("y", "FP32", (-1, 10)))
_ENDS: Final = {
    "conv": (Tensor("x", "FP32", (-1, 512, 7, 7)), Tensor("r7", "FP32", (-1, 512, 7, 7))),
    "dense": _ROWS,
}


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `memory`: the figures of the module's docstring by kind of layer."""
    found: dict[str, object] = {}
    for kind in _ENDS:
        data = model(kind) if kind == "conv" else network(1, *(HEAVY if quick else _DENSE))
        digest = put(folder, data)["digest"]
        say(f"loading {len(data) / 1e6:.0f} MB of {kind} layers ...")
        argv = [sys.executable, "-m", "benchmarks.runtime.memories", str(folder), kind, digest]
        rows = [_told(argv) for _ in range(1 if quick else 5)]
        found[kind] = {
            **{name: median(row[name] for row in rows) for name in rows[0]},
            "peak_ratio": round(max(row["while_loading"] / row["file"] for row in rows), 2),
        }
    return {"memory": found}


def _told(argv: list[str]) -> dict[str, float]:
    said: dict[str, float] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return said


def taken(folder: Path, kind: str, digest: str) -> dict[str, float]:
    """Measures the memory of a slice's sessions in this process."""
    cache = SliceCache(folder / "slices", ModelStore("http://127.0.0.1:9", Resolver()))
    Session(network(1), _ROWS[:1], _ROWS[1:]).warm()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    sessions: list[Session] = []

    def load() -> int:
        sessions.append(Session(cache.path(digest), _ENDS[kind][:1], _ENDS[kind][1:], mapped=True))
        sessions[-1].warm()
        time.sleep(_SETTLING)
        return resident()

    sizes = {"loaded": load(), "while_loading": _most()}
    load()
    sizes["loaded_thrice"] = load()
    sessions.clear()
    time.sleep(_SETTLING)
    sizes["left"] = resident()
    file = {"file": round((cache.size(digest) or 0) / 1e6, 1)}
    return file | {name: round((value - before) / 1e6, 1) for name, value in sizes.items()}


def _most() -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(taken(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
    else:
        sys.exit(command("memories", __doc__, measure))
