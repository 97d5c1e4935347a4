"""Measures the memory for a large model in the store and at a node: `make bench-size`.

A model of dense layers of 500 MB (64 with --quick) is uploaded, registered, cut into two slices and loaded as
a node does, each in a process of its own that has handled a small one before. Sizes are in MB. `peak_ratio`
is the additional memory of the process at most, divided by the size of the file (`store`) or of the slice;
the pages of a mapped file are included. The slice is loaded from the disk with its weights `packed` and
`unpacked`, and from bytes `in_memory`, as a node does whose disk is full. `run_ms` and `batch_ms` are the
processor time of an inference of one item and of 8 (the least of several). `disk_ratio`: bytes on the node's
disk divided by those of the slice. `equal`: whether the slices compute what the whole file does.

`external`, not with --quick: a model with 2.9 GB of external data, more than one protobuf message can have,
is cut in two, and the slice of all of it is refused with a message.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, helper

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import WIDTH, network, put
from edge_runtime.assignment import Slice
from edge_runtime.connections import Resolver
from edge_runtime.errors import TooLarge
from edge_runtime.inference.memory import FROM_DISK, Memory, resident
from edge_runtime.inference.sessions import Session
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.slicing import Graph
from edge_runtime.slicing.tensordata import pinned
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.holdings import Holdings

_FULL: Final = (2048, 32)  # width and layers: 505 MB
_QUICK: Final = (1024, 18)
_LIMIT: Final = 4 << 30
_BATCH: Final = 8
_WAYS: Final = ("packed", "unpacked", "in_memory")
_MODULE: Final = "benchmarks.runtime.large_models"


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `large_models`: the figures of the module's docstring."""
    width, layers = _QUICK if quick else _FULL
    say("generating the model ...")
    blobs = Blobs(folder / "store", _LIMIT)
    for name, data in (("small", network(1)), ("large", network(1, width, layers))):
        blobs.put(data, Holdings(blobs).file_path(f"{name}.onnx"))
    say("registering and cutting it ...")
    stored = _told("store", str(folder), f"h{layers // 2}")
    slices = {name: Slice.model_validate(stored.pop(name)) for name in ("head", "tail")}
    found: dict[str, object] = {"store": stored}
    cache = SliceCache(folder / "slices", ModelStore("http://127.0.0.1:9", Resolver()))
    for slice_ in slices.values():
        cache.path(slice_.digest).parent.mkdir(exist_ok=True)
        cache.path(slice_.digest).write_bytes(blobs.read_blob(slice_.digest))
    size = cache.size(slices["tail"].digest) or 0
    found["slice"] = round(size / 1e6, 1)
    for way in _WAYS:
        say(f"loading a slice, {way} ...")
        found[way] = _told("load", str(folder), slices["tail"].model_dump_json(by_alias=True), way)
    on_disk = sum(path.stat().st_size for path in (folder / "slices").iterdir())
    found["disk_ratio"] = round(on_disk / sum(cache.size(s.digest) or 0 for s in slices.values()), 3)
    say("comparing results ...")
    found["equal"] = _equal(Holdings(blobs).file_path("large.onnx"), cache, slices["head"], slices["tail"])
    if not quick:
        say("cutting a model with external data of more than 2 GiB ...")
        found["external"] = _told("external", str(folder))
    return {"large_models": found}


def _told(*arguments: str) -> dict[str, object]:
    argv = [sys.executable, "-m", _MODULE, *arguments]
    said: dict[str, object] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return said


def _equal(whole: Path, cache: SliceCache, head: Slice, tail: Slice) -> bool:
    x = np.random.default_rng(2).normal(size=(2, WIDTH)).astype(np.float32)
    (expected,) = Session(whole).run({"x": x})
    for slice_ in (head, tail):
        session = Session(cache.path(slice_.digest), slice_.inputs, slice_.outputs)
        (x,) = session.run({session.inputs[0].name: x})
    return bool(np.allclose(x, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max())))


def stored(folder: Path, cut: str) -> dict[str, object]:
    """Registers the models in this process and cuts the large one."""
    blobs = Blobs(folder / "store", _LIMIT)
    catalogue, holdings = Catalogue(blobs), Holdings(blobs)
    exits = [{"name": "final", "output": "y", "accuracy": 0.9}]

    def cut_at(name: str, at: str) -> tuple[dict[str, object], list[dict[str, object]]]:
        model = catalogue.add_model({"storageUri": f"store://{name}.onnx", "exits": exits}, holdings)
        ends = ([["x"], [at]], [[at], ["y"]])
        asked = [{"model": model["digest"], "inputs": a, "outputs": b} for a, b in ends]
        return model, [catalogue.add_slice(one, holdings) for one in asked]

    cut_at("small", "h4")
    before, started = reset_peak(), time.process_time()
    model, (head, tail) = cut_at("large", cut)
    size = float(str(model["size"]))
    catalogue.close()
    return {
        "file": round(size / 1e6, 1),
        "peak_ratio": round((peak() - before) / size, 3),
        "processor_seconds": round(time.process_time() - started, 2),
        "head": head,
        "tail": tail,
    }


def beyond_protobuf(folder: Path) -> dict[str, object]:
    """Cuts a model of four weights of 0.7 GB each, all zero and in a file that takes no place on the disk."""
    wide, nodes, before = 700_000, [], "x"
    weights = [TensorProto(name=f"w{i}", data_type=1, data_location=TensorProto.EXTERNAL) for i in range(4)]
    for i, weight in enumerate(weights):
        weight.dims.extend((WIDTH, wide) if i % 2 == 0 else (wide, WIDTH))
        length = 4 * WIDTH * wide
        for key, value in {"location": "w.bin", "offset": str(i * length), "length": str(length)}.items():
            weight.external_data.add(key=key, value=value)
        nodes.append(helper.make_node("MatMul", [before, weight.name], [f"h{i}"]))
        before = f"h{i}"
    with (folder / "w.bin").open("wb") as data:
        data.truncate(4 * 4 * WIDTH * wide)
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", "h3"))
    graph = helper.make_graph(nodes, "wide", [next(ends)], [next(ends)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "wide.onnx"
    path.write_bytes(pinned(model, folder).SerializeToString())
    memory = reset_peak()
    cut = Graph(path, lambda _: folder / "w.bin")
    sizes = [sum(map(len, cut.slice_chunks([a], [b]))) for a, b in (("x", "h1"), ("h1", "h3"))]
    try:
        cut.slice(["x"], ["h3"])
        said = ""
    except TooLarge as error:
        said = str(error)
    return {
        "slices_mb": [round(size / 1e6, 1) for size in sizes],
        "peak_mb": round((peak() - memory) / 1e6, 1),
        "refused": said,
    }


async def loaded(folder: Path, slice_: Slice, way: str) -> dict[str, object]:
    """Loads a slice in this process."""
    cache = SliceCache(folder / "slices", ModelStore("http://127.0.0.1:9", Resolver()))
    small = Slice.model_validate(put(folder / "small", network(1)))
    own = SliceLoader(SliceCache(folder / "small" / "slices", ModelStore("http://127.0.0.1:9")), None)
    await own.session(small, {})
    own.close()
    size = cache.size(slice_.digest) or 0
    before, started = reset_peak(), time.process_time()
    if way == "in_memory":
        data = cache.read(slice_.digest)
        assert data is not None
        with data:
            session = Session(data, slice_.inputs, slice_.outputs)
    else:
        scarce = (resident() + (FROM_DISK - 0.5) * size) / 0.9
        loader = SliceLoader(cache, None, memory=Memory(None if way == "packed" else scarce))
        session = await loader.session(slice_, {})
        loader.close()
    took = time.process_time() - started
    x = np.ones((1, slice_.inputs[0].shape[1]), np.float32)
    runs = [_least(session, np.repeat(x, rows, 0)) for rows in (1, _BATCH)]
    return {
        "peak_ratio": round((peak() - before) / size, 3),
        "left_ratio": round((resident() - before) / size, 3),
        "processor_seconds": round(took, 2),
        "run_ms": runs[0],
        "batch_ms": runs[1],
    }


def _least(session: Session, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    seconds = []
    for _ in range(8):
        started = time.thread_time()
        session.run({session.inputs[0].name: x})
        seconds.append(time.thread_time() - started)
    return round(1e3 * min(seconds), 2)


def peak() -> int:
    """The most memory of this process in bytes since `reset_peak`."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def reset_peak() -> int:
    """Returns the memory of this process now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["store", folder, cut]:
            print(json.dumps(stored(Path(folder), cut)))
        case ["load", folder, text, way]:
            print(json.dumps(asyncio.run(loaded(Path(folder), Slice.model_validate_json(text), way))))
        case ["external", folder]:
            print(json.dumps(beyond_protobuf(Path(folder))))
        case _:
            sys.exit(command("size", __doc__, measure))
