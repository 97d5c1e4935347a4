"""Networks as files: small ones from their nodes, and real architectures in small with random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Array = npt.NDArray[Any]
AS_WRITTEN = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
OPTIMIZED = ort.GraphOptimizationLevel.ORT_ENABLE_ALL

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def info(name: str, *shape: int | str, datatype: str = "FP32") -> ValueInfoProto:
    """An input or an output; open dimensions have a name."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    exits: Sequence[Mapping[str, object]] = (),
    *,
    opset: int = 17,
) -> bytes:
    """A file that passes onnx's checker, with the exits in its metadata."""
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10 if opset > 20 else 9
    )
    if exits:
        helper.set_model_props(model, {"edge.exits": json.dumps(list(exits))})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def with_noise(model: ModelProto, seed: int = 1) -> bytes:
    """The model with noise of variance 2 / fan-in in place of its constant weights."""
    rng = np.random.default_rng(seed)
    made = ModelProto()
    made.CopyFrom(model)
    constants = {n.output[0]: n for n in made.graph.node if n.op_type == "Constant"}
    kept = []
    for node in made.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = numpy_helper.to_array(constants[node.input[0]].attribute[0].t)
        name = node.output[0]
        last = name.rsplit(".", 1)[-1]
        fan = float(np.prod(shape[1:])) if len(shape) > 2 else float(shape[0])
        if last == "scale":
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            values = rng.normal(scale=0.05, size=shape)
        else:
            values = rng.normal(scale=(2 / fan) ** 0.5, size=shape)
        made.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    del made.graph.node[:]
    made.graph.node.extend(kept)
    data: bytes = made.SerializeToString()
    return data


def feeds_for(model: ModelProto, batch: int = 2, seed: int = 2) -> dict[str, Array]:
    """Noise, or small integers, for every input of a model whose only open dimension is the batch."""
    rng = np.random.default_rng(seed)
    found = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else batch for d in tensor.shape.dim]
        whole = tensor.elem_type == TensorProto.INT64
        found[value.name] = (
            rng.integers(0, 100, shape) if whole else rng.normal(size=shape).astype(np.float32)
        )
    return found


def run(model: bytes, feeds: Mapping[str, Array], level: Any = AS_WRITTEN) -> dict[str, Array]:
    """All outputs by name, on one thread, with onnxruntime's optimizations at `level`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))
