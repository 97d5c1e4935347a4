"""Measures cost and savings of the input filter and the result cache with a mostly static camera stream.

Run alone: `.venv/bin/python -m benchmarks.runtime.memoizing [--quick]`; the last line is one JSON object.
Costs are medians of single calls on one thread, also for inferences. The camera's stream is synthetic: an
image with noise, sometimes a repeated frame, and an object that crosses it. The same model in one process
receives it with filter and cache off and on, alternately, without a transport. Age is measured by a clock
that each frame advances by 1/25 s, so the results do not depend on the machine's speed.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.graphs.nets import Net
from benchmarks.graphs.residual import mobilenet_v2
from benchmarks.runtime.commands import Say, command
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.memoization.distances import digest, distance, sketch
from edge_runtime.memoization.settings import OFF, CacheOptions, FilterOptions, MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.standalone import StandaloneModel, open_model

Image = npt.NDArray[np.float32]

FRAMES: Final = 500
STILL, SAME, MOVING = 0.7, 0.1, 0.2  # shares of the stream
_RATE: Final = 25.0
_NOISE: Final = 0.01
_OBJECT: Final = 24
_SETTINGS: Final[dict[str, MemoizationSettings]] = {
    "off": OFF,
    "cache": MemoizationSettings(cache=CacheOptions()),
    "filter": MemoizationSettings(filter=FilterOptions()),
    "both": MemoizationSettings(FilterOptions(), CacheOptions()),
}


def digits_network() -> Net:
    """A network as large as that of examples/01-digits, without early exits."""
    net = Net("digits")
    x = net.input("image", ("batch", 1, 64, 64))
    x = net.pool(_convolved(net, x, 4, 7, stride=2), "MaxPool", 3, 2, 1)
    x = net.node("LRN", [_convolved(net, net.node("LRN", [x], size=5), 24, 5)], size=5)
    x = _convolved(net, net.pool(x, "MaxPool", 3, 2, 1), 4, 1)
    for filters, kernel in ((192, 5), (512, 3), (192, 3)):
        x = net.node("LRN", [_convolved(net, x, filters, kernel)], size=5)
    flat = net.node("Flatten", [net.pool(x, "MaxPool", 2, 2)])
    hidden = net.node("Relu", [net.connected(flat, 192 * 4 * 4, 96)])
    net.output(net.connected(hidden, 96, 10, "logits"), ("batch", 10))
    return net


def _convolved(net: Net, x: str, filters: int, kernel: int, stride: int = 1) -> str:
    return net.node("Relu", [net.convolution(x, filters, kernel, stride=stride, pad=kernel // 2)])


def camera(frames: int, seed: int = 1) -> tuple[list[Image], list[int]]:
    """Returns frames of shape [1, 3, 224, 224] and the object's position in each (-1: no object)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:224, 0:224] / 224
    room = np.stack([0.5 + 0.4 * np.sin(a * x + b * y) for a, b in rng.uniform(1, 9, (3, 2))])[None]
    crossings = round(frames * MOVING / 20)  # each of 20 frames
    begins = np.sort(rng.choice(frames // 20, crossings, replace=False)) * 20
    places = np.full(frames, -1)
    for begin in begins:
        places[begin : begin + 20] = np.arange(20) * 10
    same = rng.uniform(size=frames) < SAME / (STILL + SAME)
    made: list[Image] = []
    for i, place in enumerate(places):
        if i and place < 0 and places[i - 1] < 0 and same[i]:
            made.append(made[-1])
            continue
        image = room + rng.normal(scale=_NOISE, size=room.shape)
        if place >= 0:
            image[..., 100 : 100 + _OBJECT, place : place + _OBJECT] += 0.4
        made.append(image.astype(np.float32))
    return made, [int(place) for place in places]


def costs(name: str, model: Path, image: Image, say: Say, *, quick: bool) -> dict[str, object]:
    """Microseconds of the filter, the digest and the inference for one input."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    before = sketch({"image": image})
    found: dict[str, object] = {"input_bytes": image.nbytes}
    for what, call in (
        ("filter", lambda: distance(before, sketch({"image": image}))),
        ("digest", lambda: digest({"image": image}, b"key")),
        ("inference", lambda: session.run(None, {given.name: image})),
    ):
        found[f"{what}_us"] = _median_us(call, 20 if quick else 200)
    for what in ("filter", "digest"):
        found[f"{what}_share"] = round(found[f"{what}_us"] / found["inference_us"], 4)  # type: ignore[operator]
    say(f"{name}: {found}")
    return found


def _median_us(call: Callable[[], object], count: int) -> float:
    call()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * sorted(times)[count // 2], 1)


class Front:
    """The model with one of the settings; counts and times frames."""

    def __init__(self, model: Path, settings: MemoizationSettings) -> None:
        metrics = Metrics("bench")
        self._now = 0.0
        self.model = StandaloneModel(open_model(model, 1), metrics, memoization=settings)
        self._front = MemoizingBackend(self.model, metrics.registry, "bench", b"key", lambda: self._now)
        self.seconds = 0.0
        self.told: list[tuple[bool, bool, float]] = []

    async def show(self, frames: Sequence[Image]) -> None:
        """Sends one frame after the other, each after the previous response."""
        for frame in frames:
            self._now += 1 / _RATE
            begin = time.perf_counter()
            response = await self._front.infer(InferenceRequest({"image": frame}, ["logits"]))
            self.seconds += time.perf_counter() - begin
            told: dict[str, Any] = dict(response.parameters)
            self.told.append(("filtered" in told, "cached" in told, float(response.outputs[0].ravel()[0])))


async def stream(model: Path, *, quick: bool) -> dict[str, object]:
    """Frames per second with and without, and the objects that the filter missed."""
    frames, places = camera(100 if quick else FRAMES)
    fronts = {name: Front(model, settings) for name, settings in _SETTINGS.items()}
    step = 25  # alternately, so that other load on the machine affects all
    for begin in range(0, len(frames), step):
        for front in fronts.values():
            await front.show(frames[begin : begin + step])
    for front in fronts.values():
        front.model.close()
    rates = {name: len(frames) / front.seconds for name, front in fronts.items()}
    return {
        "frames": len(frames),
        "share_with_object": round(sum(p >= 0 for p in places) / len(places), 3),
        "share_same_bytes": round(sum(a is b for a, b in pairwise(frames)) / len(frames), 3),
        "frames_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "gain": {name: round(rate / rates["off"], 2) for name, rate in rates.items()},
        "share_computed": {
            name: round(sum(not f and not c for f, c, _ in front.told) / len(frames), 3)
            for name, front in fronts.items()
        },
        "repeated_although_the_object_came_went_or_moved": _missed(fronts["filter"], places),
    }


def _missed(front: Front, places: Sequence[int]) -> int:
    """Frames that got the result of a frame with another position of the object."""
    missed, reference = 0, -1
    for (filtered, _, _), place in zip(front.told, places, strict=True):
        if filtered:
            missed += place != reference
        else:
            reference = place
    return missed


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """`costs` of the parts by size of the input, and the `stream` with each of the settings."""
    models = {
        "64x64": digits_network().model().SerializeToString(),
        "224x224": mobilenet_v2(224).SerializeToString(),
    }
    shapes = {"64x64": (1, 1, 64, 64), "224x224": (1, 3, 224, 224)}
    paths = {name: folder / f"{name}.onnx" for name in models}
    for name, path in paths.items():
        path.write_bytes(models[name])
    rng = np.random.default_rng(0)
    return {
        "quick": quick,
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
        "costs": {
            name: costs(name, path, rng.uniform(size=shapes[name]).astype(np.float32), say, quick=quick)
            for name, path in paths.items()
        },
        "stream": asyncio.run(stream(paths["224x224"], quick=quick)),
    }


if __name__ == "__main__":
    sys.exit(command("memoization", __doc__, measure))
