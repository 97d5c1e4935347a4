"""Reads and checks a model, as strictly as onnxruntime does.

onnx's checker is stricter than onnxruntime about what a file can omit. Values that onnxruntime supplies or
ignores are added during the check only; the model itself stays unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from edge_runtime.errors import NotOnnx
from edge_runtime.graph_analysis.nodes import everywhere
from edge_runtime.slicing.ordering import put_in_order
from edge_runtime.slicing.pieces import Source
from edge_runtime.slicing.reading import parse_light
from edge_runtime.slicing.tensordata import Fetch, is_outside, take_in

# From this version of the format, initializers need not be inputs, too.
MIN_IR: Final = 4


def read_model(source: Source, digest: str, fetch: Fetch | None) -> tuple[ModelProto, dict[str, Source]]:
    """Returns a checked model with its nodes in topological order, and the files with its large initializers.

    The location of such an initializer is the digest of a file; all other data is in the model. `fetch`
    returns files with external data by digest. Raises NotOnnx, BadRequest and DigestMismatch.
    """
    model = parse_light(source, digest)
    files = {digest: source} | take_in(model, fetch, digest)
    put_in_order(model)
    try:
        with _completed(model):
            onnx.checker.check_model(_declaring_large(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise NotOnnx(f"model: not valid ONNX ({first}): export it again") from error
    return model, files


def missing_domains(model: ModelProto) -> list[tuple[str, int]]:
    """Domains of operators for which the file imports no version, with the implied version of each."""
    imported = {_plain(o.domain) for o in model.opset_import}
    called = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    used = dict.fromkeys(_plain(node.domain) for node in everywhere(called))
    return [(domain, _latest(domain)) for domain in used if domain not in imported]


def _declaring_large(model: ModelProto) -> ModelProto:
    """The model with its large initializers as inputs: the checker would look for their data."""
    light = ModelProto()
    light.CopyFrom(model)
    del light.graph.initializer[:]
    declared = {value.name for value in light.graph.input}
    for initializer in model.graph.initializer:
        if not is_outside(initializer):
            light.graph.initializer.append(initializer)
        elif initializer.name not in declared:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(initializer.name, initializer.data_type, initializer.dims)
            )
    return light


@contextmanager
def _completed(model: ModelProto) -> Iterator[None]:
    """Adds what onnxruntime does not require to the model inside the context."""
    imports, outputs = len(model.opset_import), [_copy(o) for o in model.graph.output]
    version, named = model.ir_version, bool(model.graph.name)
    for domain, number in missing_domains(model):
        model.opset_import.add(domain=domain, version=number)
    for output in model.graph.output:
        if not output.type.WhichOneof("value"):
            output.type.tensor_type.elem_type = TensorProto.FLOAT
        if output.type.HasField("tensor_type") and not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.SetInParent()
    if version:  # without one, onnxruntime rejects the file as well
        model.ir_version = max(version, MIN_IR)
    if not named:
        model.graph.name = "graph"
    try:
        yield
    finally:
        model.ir_version = version
        if not named:
            model.graph.ClearField("name")
        del model.graph.output[:]
        model.graph.output.extend(outputs)
        del model.opset_import[imports:]


def _copy(value: ValueInfoProto) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    return copy


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _latest(domain: str) -> int:
    known = (schema.since_version for schema in onnx.defs.get_all_schemas() if schema.domain == domain)
    return max(known, default=1)
