"""A model with no hop, one or two, each stage a real runtime in a thread; and fallbacks for a hop."""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edge_runtime.slicing import Graph
from stages import alone, entry

Document = dict[str, Any]


class Cutter:
    """Slices of a model as stages, with their bytes."""

    def __init__(self, model: bytes, outputs: Sequence[str]) -> None:
        self.graph, self.outputs, self.slices = Graph(model), outputs, dict[str, bytes]()

    def stage(self, start: Sequence[str], end: Sequence[str], **place: str) -> Document:
        data = self.graph.slice(start, end)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.slices[digest] = data
        takes, gives = self.graph.contract(start, end)
        described = {
            "digest": digest,
            "inputs": [t.document() for t in takes],
            "outputs": [t.document() for t in gives],
        }
        return {"place": "here", "runtime": "Edge", "slice": described, **place}

    def route(self, name: str, *stages: Document, bandwidth: str = "0") -> Document:
        return {
            "name": name, "exit": "full", "cut": name.partition("@")[2], "accuracy": 0.9,
            "minBandwidth": bandwidth, "predictedLatency": "10ms", "stages": list(stages),
        }  # fmt: skip

    def placement(self, routes: Sequence[Document], **more: Any) -> Document:
        model = {
            "digest": self.graph.digest,
            "inputs": [self.graph.tensor(name).document() for name in self.graph.inputs],
            "outputs": [self.graph.tensor(name).document() for name in self.outputs],
        }
        spec = {
            "service": "digits", "node": "edge-a", "mode": "Auto", "model": model,
            "slo": {"latency": "5s", "percentile": 95}, "routes": list(routes), **more,
        }  # fmt: skip
        return {"metadata": {"name": "digits-edge-a", "namespace": "default", "generation": 1}, "spec": spec}

    def keep(self, folder: Path) -> Path:
        """A node's folder, whose cache has all slices."""
        cache = folder / "cache" / "slices"
        cache.mkdir(parents=True)
        for digest, data in self.slices.items():
            (cache / digest.removeprefix("sha256:")).write_bytes(data)
        return folder


@contextmanager
def routed(
    model: bytes,
    outputs: str | Sequence[str],
    cuts: Sequence[str | Sequence[str]],
    folder: Path,
    *,
    last_of: bytes | None = None,
    local: bool = False,
) -> Iterator[Path]:
    """The sockets of an entry node that computes up to the first cut; the other stages are hops.

    outputs, cuts: each the name of one tensor, or of several.

    last_of: the model whose last stage responds in place of this one's; empty: no response. local: whether
    there is a local route, too.
    """
    last_ones = _names(outputs)
    cutter = Cutter(model, last_ones)
    ends = [list(cutter.graph.needed_inputs(last_ones)), *map(_names, cuts), last_ones]
    pairs = list(itertools.pairwise(ends))
    if len(pairs) == 1:
        node = cutter.placement([cutter.route("full@local", cutter.stage(*pairs[0]))])
        with entry(cutter.keep(folder), node) as found:
            yield found
        return
    with ExitStack() as stack:
        last, port = folder / "last.onnx", _free()
        if last_of != b"":
            last.write_bytes((Graph(last_of) if last_of else cutter.graph).slice(*pairs[-1]))
            port, _, _ = stack.enter_context(alone(last, name="last"))
        beyond = [cutter.stage(*pairs[-1], place="far", address=f"http://127.0.0.1:{port}", model="last")]
        if len(pairs) == 3:
            port = _free()
            here = cutter.stage(*pairs[1])
            intermediate = {"model": "middle", "stages": [here, *beyond]}
            whole = cutter.route("full@local", cutter.stage(ends[0], ends[-1]))
            node = cutter.placement([whole], intermediateSlices=[intermediate])
            stack.enter_context(entry(cutter.keep(folder / "middle"), node, http_port=port))
            address = f"http://127.0.0.1:{port}"
            beyond = [{**here, "place": "near", "address": address, "model": "middle"}, *beyond]
        stages = [cutter.stage(*pairs[0]), *beyond]
        routes = [cutter.route(f"full@{'+'.join(ends[1])}", *stages, bandwidth="1" if local else "0")]
        if local:
            near = cutter.route("full@local", cutter.stage(ends[0], ends[-1]))
            routes.append(near | {"accuracy": 0.8})  # of equally accurate routes the fastest is used
        node = cutter.placement(routes)
        yield stack.enter_context(entry(cutter.keep(folder / "entry"), node))


def _names(tensors: str | Sequence[str]) -> list[str]:
    return [tensors] if isinstance(tensors, str) else list(tensors)


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
