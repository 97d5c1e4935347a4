"""The networks of tests and benchmarks, by name."""

from collections.abc import Callable, Mapping
from functools import cache

from onnx import ModelProto

from benchmarks.graphs.inception import inception_v3
from benchmarks.graphs.residual import mobilenet_v2, resnet50
from benchmarks.graphs.small import alexnet, camera_and_sensors, unet
from benchmarks.graphs.transformers import transformer

BUILDERS: Mapping[str, Callable[[], ModelProto]] = {
    "alexnet": alexnet,
    "camera_and_sensors": camera_and_sensors,
    "inception_v3": inception_v3,
    "mobilenet_v2": mobilenet_v2,
    "resnet50": resnet50,
    "transformer12": transformer,
    "unet": unet,
}


@cache
def build(name: str) -> ModelProto:
    """Returns the network of that name as ONNX; the same object each time, so do not modify it."""
    return BUILDERS[name]()
