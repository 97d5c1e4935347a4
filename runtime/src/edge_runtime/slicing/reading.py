"""Parses ONNX models, and lists what their nodes read, contain, draw at random and call."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Final

import onnx
from onnx import ModelProto, NodeProto

from edge_runtime.errors import NotOnnx
from edge_runtime.graph_analysis.detached_weights import detached
from edge_runtime.graph_analysis.nodes import bodies, everywhere, is_random
from edge_runtime.slicing.pieces import Place, Source, length_of

_SHOWN: Final = 8


def parse(data: bytes) -> ModelProto:
    """Parses a model without checking it. Raises NotOnnx."""
    return _parsed(data, data, len(data))


def parse_light(source: Source, digest: str) -> ModelProto:
    """Parses a model without checking it. Its large initializers have this digest as their location.

    Raises NotOnnx.
    """
    size = length_of(source)
    start = Place(source, 0, min(size, _SHOWN)).read()
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            light = detached(file, size, digest)
    except ValueError as error:
        raise _not_onnx(start, size, "cannot be read as ONNX") from error
    return _parsed(light, start, size)


def _parsed(data: bytes, start: bytes, size: int) -> ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises a different class for each kind of invalid input
        raise _not_onnx(start, size, "cannot be read as ONNX") from error
    if not model.graph.node or not model.opset_import:  # protobuf reads some random bytes as an empty model
        raise _not_onnx(start, size, "contain no ONNX graph")
    return model


def _not_onnx(start: bytes, size: int, what: str) -> NotOnnx:
    shown = start[:_SHOWN].hex(" ") or "nothing"
    return NotOnnx(f"model: {size} bytes starting with {shown} {what}: use the bytes of an .onnx file")


def reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, including those that subgraphs of If, Loop and Scan take from outside."""
    yield from (name for name in node.input if name)
    for body in bodies(node):
        inner = {i.name for i in body.input} | {i.name for i in body.initializer}
        inner |= {i.values.name for i in body.sparse_initializer}
        inner |= {out for n in body.node for out in n.output}
        names = [name for n in body.node for name in reads(n)] + [o.name for o in body.output]
        yield from (name for name in names if name not in inner)


def draws(model: ModelProto, node: NodeProto) -> bool:
    """Whether a node draws random numbers, itself or in the functions that it calls."""
    called = functions_of(model, [node])
    return any(map(is_random, everywhere([node, *(n for f in called for n in f.node)])))


def functions_of(model: ModelProto, nodes: Iterable[NodeProto]) -> list[onnx.FunctionProto]:
    """The model's functions that nodes call, directly or indirectly, in the file's order."""
    known = {(f.domain, f.name, f.overload): f for f in model.functions}
    called: set[tuple[str, str, str]] = set()
    todo = list(everywhere(nodes))
    while todo:
        node = todo.pop()
        key = (node.domain, node.op_type, node.overload)
        if key in known and key not in called:
            called.add(key)
            todo.extend(everywhere(known[key].node))
    return [f for key, f in known.items() if key in called]
