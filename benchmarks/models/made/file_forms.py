"""Files that onnxruntime takes although they are written in unusual ways."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from benchmarks.models.made.networks import MadeModel, noise
from edge_runtime.slicing.tensordata import pinned

_X: Final = {"x": noise(1, 8, other=(3, 8))}
_BODY: Final = """forms (float[N, 8] x) => (float[N, 4] y)
{
    h = MatMul (x, w1)
    r = Relu (h)
    y = MatMul (r, w2)
}"""
_WEIGHTS: Final = {"w1": (8, 8), "w2": (8, 4)}


def _beside(model: ModelProto, path: Path) -> None:
    data = f"{path.stem}.onnx.data"
    (path.parent / data).unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=0)
    path.write_bytes(pinned(onnx.load(path, load_external_data=False), path.parent).SerializeToString())


def _last_first(model: ModelProto) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def _minus_one(model: ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = -1


def _without_shapes(model: ModelProto) -> None:
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _more_outputs(model: ModelProto) -> None:
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("w2", TensorProto.FLOAT, [8, 4]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 8]),
        ]
    )


FILE_FORMS: Final = (
    MadeModel("data-beside", "data outside of the file", _BODY, _X, _WEIGHTS, write=_beside),
    MadeModel("nodes-out-of-order", "nodes out of order", _BODY, _X, _WEIGHTS, change=_last_first),
    MadeModel("open-as-minus-one", "-1 for an open dimension", _BODY, _X, _WEIGHTS, change=_minus_one),
    MadeModel("outputs-without-shape", "outputs without shape", _BODY, _X, _WEIGHTS, change=_without_shapes),
    MadeModel("constant-output", "an output that is a constant", _BODY, _X, _WEIGHTS, change=_more_outputs),
    MadeModel(
        "omitted-outputs",
        "outputs left out",
        """halves (float[N, 8] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            kept, _drop = Split <axis = 1> (h, sizes)
            mean = LayerNormalization (kept, scale)
            y = MatMul (mean, w2)
        }""",
        _X,
        {"w1": (8, 8), "w2": (6, 4), "sizes": np.array([6, 2]), "scale": np.ones(6, np.float32)},
    ),
    MadeModel(
        "functions",
        "functions of the file",
        """forms (float[N, 8] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            g = own.gate (h)
            y = MatMul (g, w2)
        }""",
        _X,
        _WEIGHTS,
        domains={"own": 1},
        functions="""<domain: "own", opset_import: ["": 17]>
        gate (a) => (b)
        {
            s = Sigmoid (a)
            b = Mul (a, s)
        }""",
    ),
    MadeModel(
        "contributed-operators",
        "operators of onnxruntime",
        """forms (float[N, 8] x) => (float[N, 4] y)
        {
            h = com.microsoft.FusedMatMul <alpha = 0.5> (x, w1)
            g = com.microsoft.Gelu (h)
            y = MatMul (g, w2)
        }""",
        _X,
        _WEIGHTS,
        domains={"com.microsoft": 1},
    ),
    MadeModel(
        "awkward-names",
        "names with signs",
        """forms (float[N, 8] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            r = Relu (h)
            s = MatMul (r, w1)
            t = Tanh (s)
            y = MatMul (t, w2)
        }""",
        _X,
        _WEIGHTS,
        change=lambda model: _rename(model, {"h": "a+b", "r": "größe 1/2", "s": "a:fp16", "y": "y:0"}),
    ),
)


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in model.graph.output:
        value.name = names.get(value.name, value.name)
