"""The independent variables of a layer's latency regression, as in Edgent.

Edgent (Li, Zhou, Chen 2018, Table 1) regresses each type of layer on a few sizes: a convolution on the number
of its input maps and on (filter / stride)^2 x filters, every other layer on the sizes of its input and
output. Both the restatement from general knowledge of the paper and sizes as counts of elements are
assumptions.
"""

from collections.abc import Sequence
from math import prod

from edge_planning.graphs.flops import Attributes, Shape, Shapes, ints

CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Index of the weight among the inputs."""


def variables(
    operator: str, activations: Sequence[Shape], inputs: Shapes, outputs: Sequence[Shape], given: Attributes
) -> dict[str, float]:
    """Returns the variables of a layer.

    These are `input` and `output`, the elements of the activations that it reads and of its outputs. For
    convolutions, also input_maps and filter_work = (filter / stride)^2 x filters.

    `inputs`: Shapes of all inputs, including parameters. `given`: Attributes of the operator.
    """
    found = {"input": float(sum(map(prod, activations))), "output": float(sum(map(prod, outputs)))}
    if operator in CONVOLUTIONS:
        first, weight = inputs[0] or (), inputs[CONVOLUTIONS[operator]] or ()
        kernel = weight[2:]
        strides = ints(given, "strides", (1,) * len(kernel))
        found["input_maps"] = float(first[1])
        found["filter_work"] = prod(kernel) / prod(strides) * weight[0]
    return found
