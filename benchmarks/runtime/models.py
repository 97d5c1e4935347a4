"""Models with almost no compute, so that only the server is measured."""

from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper

SIZES: Final = {"1KB": 256, "48KB": 12_288, "600KB": 153_600}  # values of 4 bytes
OUTPUTS: Final = 8


def write_models(folder: Path) -> dict[str, Path]:
    """One model for each size, each the mean of eighths of its input: [N, values] -> [N, 8]."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, values in SIZES.items():
        path = paths[name] = folder / f"mean-{name}.onnx"
        path.write_bytes(mean(values))
    return paths


def mean(values: int) -> bytes:
    """The means of the eighths of `values` values, [N, values] -> [N, 8]."""
    eighths = helper.make_tensor("eighths", TensorProto.INT64, [3], [0, OUTPUTS, values // OUTPUTS])
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "eighths"], ["parts"]),
            helper.make_node("ReduceMean", ["parts"], ["y"], axes=[2], keepdims=0),
        ],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", values])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", OUTPUTS])],
        [eighths],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
