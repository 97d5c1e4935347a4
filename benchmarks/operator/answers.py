"""What the substitutes of the model store and of the Triton servers respond with. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.operator.fleet import CLOUD_CLASS, Document, digest

SLICE_BYTES: Final = 1024
_SPEED: Final = {CLOUD_CLASS: 0.05}
"""Compute times of a device class, relative to those of an entry node."""
_SEGMENTS: Final = (
    ("image", "pool1", 0.02),
    ("pool1", "exit1_logits", 0.01),
    ("pool1", "pool2", 0.05),
    ("pool2", "logits", 0.05),
)
_EXITS: Final = (("exit1", 0.03), ("final", 0.12))
_SHAPES: Final = {
    "image": [-1, 1, 64, 64],
    "pool1": [-1, 1024],
    "pool2": [-1, 256],
    "exit1_logits": [-1, 10],
    "logits": [-1, 10],
}


def card(source: Mapping[str, Any]) -> Document:
    """Returns the metadata of a model: two exits, which can be cut in two and in three places."""
    image, pool1, pool2 = (
        {"tensor": name, "bytes": size} for name, size in (("image", 16384), ("pool1", 4096), ("pool2", 1024))
    )
    return {
        "digest": digest(source["storageUri"]),
        "size": 1 << 20,
        "inputs": [_tensor("image")],
        "exits": [
            {
                "name": "exit1",
                "outputs": ["exit1_logits"],
                "accuracy": 0.86,
                "tensors": [_tensor("exit1_logits")],
                "cuts": [image, pool1],
            },
            {
                "name": "final",
                "outputs": ["logits"],
                "accuracy": 0.98,
                "tensors": [_tensor("logits")],
                "cuts": [image, pool1, pool2],
            },
        ],
    }


def piece(request: Mapping[str, Any]) -> Document:
    """Returns the slice that a request describes."""
    return {
        "digest": digest(json.dumps(request, sort_keys=True)),
        "size": SLICE_BYTES,
        "inputs": [_tensor(name) for name in request["inputs"]],
        "outputs": [_tensor(name) for name in (*request["outputs"], *request.get("kept", ()))],
    }


def layers() -> Document:
    """Returns the layers of a model: a chain, in which there are no further cuts to find."""
    return {"inputs": ["image"], "outputs": ["logits"], "layers": [], "tensors": []}


def profile(model: str, selection: str, device_class: str) -> Document:
    """Returns the measurements of a model on a device class."""
    scale = _SPEED.get(device_class, 1.0)

    def times(seconds: float) -> Document:
        return {"meanSeconds": seconds * scale, "p95Seconds": seconds * scale, "runs": 50}

    return {
        "model": model,
        "selection": selection,
        "deviceClass": device_class,
        "node": "measured",
        "segments": [{"from": start, "to": end, **times(seconds)} for start, end, seconds in _SEGMENTS],
        "exits": [{"exit": name, **times(seconds)} for name, seconds in _EXITS],
    }


@dataclass(slots=True)
class Servers:
    """The models of all Triton servers, and what was done that nothing required.

    double: loads of a model that the same leader had loaded, and unloads of one that was not loaded.
    """

    models: dict[tuple[str, str], Document] = field(default_factory=dict)
    """Configurations by host and name."""
    loads: int = 0
    unloads: int = 0
    double: int = 0

    def load(self, host: str, name: str, request: Mapping[str, Any]) -> None:
        config = json.loads(request["parameters"]["config"])
        self.loads += 1
        self.double += self.models.get((host, name)) == config
        self.models[host, name] = config

    def unload(self, host: str, name: str) -> None:
        self.unloads += 1
        self.double += self.models.pop((host, name), None) is None

    def statistics(self, host: str) -> Document:
        return {"model_stats": [{"name": name, "version": "1"} for at, name in self.models if at == host]}

    def found(self) -> Document:
        """Returns all models, as `HOST NAME`, and the counts."""
        return {
            "models": sorted(f"{host} {name}" for host, name in self.models),
            "loads": self.loads,
            "unloads": self.unloads,
            "double": self.double,
        }


def _tensor(name: str) -> Document:
    return {"name": name, "datatype": "FP32", "shape": _SHAPES[name]}
