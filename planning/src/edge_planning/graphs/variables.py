"""What a latency regression of a layer is made on: Edgent's independent variables.

Edgent (Li, Zhou, Chen 2018, Table 1) regresses each type of layer on a few sizes: a convolution on the number
of its input maps and on (filter / stride)^2 x filters, every other layer on its input's and its output's
size. Restated from general knowledge of the paper, with sizes as counts of elements: assumptions.
"""

from collections.abc import Sequence
from math import prod

from edge_planning.graphs.flops import Attributes, Shape, Shapes, ints

CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""The position of the weight among the inputs."""


def variables(
    operator: str, activations: Sequence[Shape], inputs: Shapes, outputs: Sequence[Shape], given: Attributes
) -> dict[str, float]:
    """input, output: elements that come in (of activations) and go out; for convolutions also input_maps and
    filter_work = (filter / stride)^2 x filters.

    inputs: the shapes of all inputs, parameters among them. given: the operator's attributes.
    """
    found = {"input": float(sum(map(prod, activations))), "output": float(sum(map(prod, outputs)))}
    if operator in CONVOLUTIONS:
        first, weight = inputs[0] or (), inputs[CONVOLUTIONS[operator]] or ()
        kernel = weight[2:]
        strides = ints(given, "strides", (1,) * len(kernel))
        found["input_maps"] = float(first[1])
        found["filter_work"] = prod(kernel) / prod(strides) * weight[0]
    return found
