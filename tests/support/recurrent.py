"""A recurrent network whose first layer is worth running at the entry node, with the state behind it."""

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from networks import info, model_of

LAYERS, WIDE, NARROW = 200, 8192, 256


def recurrent() -> bytes:
    """Frames are narrowed by one layer; the many behind it need the state, too, and take most of the time.

    Each of them adds what the first gave, so that there is one cut behind the inputs.
    """
    rng = np.random.default_rng(13)

    def weights(name: str, rows: int, columns: int) -> Any:
        array = rng.normal(0, 1 / np.sqrt(rows), (rows, columns)).astype(np.float32)
        return numpy_helper.from_array(array, name)

    nodes = [
        helper.make_node("MatMul", ["frames", "narrow"], ["h"]),
        helper.make_node("Tanh", ["h"], ["first"]),
        helper.make_node("Add", ["first", "state"], ["t0"]),
    ]
    for number in range(LAYERS):
        nodes += [
            helper.make_node("MatMul", [f"t{number}", "kept"], [f"m{number}"]),
            helper.make_node("Add", [f"m{number}", "first"], [f"a{number}"]),
            helper.make_node("Tanh", [f"a{number}"], [f"t{number + 1}"]),
        ]
    nodes += [
        helper.make_node("MatMul", [f"t{LAYERS}", "last"], ["speech"]),
        helper.make_node("Add", [f"t{LAYERS}", "state"], ["stateN"]),
    ]
    constants = [
        weights("narrow", WIDE, NARROW),
        weights("kept", NARROW, NARROW),
        weights("last", NARROW, 4),
    ]
    return model_of(
        nodes,
        [info("frames", "N", WIDE), info("state", "N", NARROW)],
        [info("speech", "N", 4), info("stateN", "N", NARROW)],
        constants,
    )
