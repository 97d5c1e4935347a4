"""Models of a size in bytes that are generated fast. Run as a program, it loads one and prints its memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

WIDTH: Final = 1024


def weighty(layers: int, width: int = WIDTH) -> bytes:
    """x [N, width] -> y [N, width] by dense layers; 4 MiB a layer by default.

    It also has a shape in an initializer, and a bias without raw data.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    from networks import info, model_of

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            rng.standard_normal((width, width), dtype=np.float32) * np.float32(0.5 / width**0.5), f"w{i}"
        )
        for i in range(layers)
    ]
    shape = numpy_helper.from_array(np.array([-1, width], np.int64), "shape")
    bias = helper.make_tensor("bias", 1, [width], [0.25] * width)
    nodes, before = [helper.make_node("Reshape", ["x", "shape"], ["flat"])], "flat"
    nodes.append(helper.make_node("Add", ["flat", "bias"], ["shifted"]))
    before = "shifted"
    for i in range(layers):
        after = "y" if i == layers - 1 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [before, f"w{i}"], [after]))
        before = after
    return model_of(nodes, [info("x", "N", width)], [info("y", "N", width)], [*weights, shape, bias])


def peak() -> float:
    """The most memory of this process in bytes since `reset_peak`."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def reset_peak() -> float:
    """Returns the memory of this process now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def _loaded(path: Path, *, whole: bool, packed: bool) -> dict[str, Any]:
    from edge_runtime.inference.sessions import Session
    from edge_runtime.tensors import Tensor

    x, y = ((Tensor(name, "FP32", (-1, WIDTH)),) for name in ("x", "y"))
    Session(weighty(1), x, y).warm()
    before = reset_peak()
    session = Session(path.read_bytes() if whole else path, x, y, mapped=True, packed=packed)
    session.warm()
    size = path.stat().st_size
    return {"peak": (peak() - before) / size, "native": session.native}


if __name__ == "__main__":
    print(
        json.dumps(_loaded(Path(sys.argv[1]), whole="whole" in sys.argv, packed="unpacked" not in sys.argv))
    )
