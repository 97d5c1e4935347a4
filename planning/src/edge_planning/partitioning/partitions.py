"""The problem of assigning a model's layers to ordered tiers, and its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_planning.errors import BadValueError, require
from edge_planning.partitioning.structures import Structure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PartitionProblem:
    """Ordered tiers; data flows only to later tiers, and the inputs are at tier 0.

    Attributes:
        seconds: [tiers, layers].
        hop_seconds_per_byte: [tiers - 1].
        hop_fixed: Seconds [tiers - 1], paid once if any layer runs behind the hop.
        returned: Whether results travel back to tier 0 over the same hops.
        memory: Bytes [layers].
        limits: Bytes [tiers]; infinity for no limit.
        fixed: Tier by layer number.
        objective: Summed seconds, or the bottleneck: the largest of the tiers' and the hops' seconds (the
            heavy mode of DADS, Hu et al., INFOCOM 2019, with each hop as a stage).
    """

    structure: Structure
    seconds: Floats
    hop_seconds_per_byte: Floats
    hop_fixed: Floats
    returned: bool = False
    memory: Floats | None = None
    limits: Floats | None = None
    fixed: Mapping[int, int] = field(default_factory=dict)
    objective: Literal["latency", "bottleneck"] = "latency"

    def __post_init__(self) -> None:
        count = len(self.structure.layers)
        shape = self.seconds.shape
        require(
            len(shape) == 2 and shape[0] >= 1 and shape[1] == count,
            f"seconds: shape {shape} does not fit {count} layers",
        )
        hops = (shape[0] - 1,)
        for name, values, wanted in (
            ("seconds", self.seconds, shape),
            ("hop_seconds_per_byte", self.hop_seconds_per_byte, hops),
            ("hop_fixed", self.hop_fixed, hops),
        ):
            require(values.shape == wanted, f"{name}: shape {values.shape}, not {wanted}")
            wrong = ~(np.isfinite(values) & (values >= 0))
            if wrong.any():
                raise BadValueError(f"{name}: {values[wrong][:1]} must be finite and >= 0")
        require((self.memory is None) == (self.limits is None), "memory and limits: set both or neither")
        if self.memory is not None and self.limits is not None:
            for name, values, wanted in (
                ("memory", self.memory, (count,)),
                ("limits", self.limits, shape[:1]),
            ):
                require(values.shape == wanted, f"{name}: shape {values.shape}, not {wanted}")
                require(bool(np.all(values >= 0)), f"{name}: values must be >= 0")
            require(bool(np.all(np.isfinite(self.memory))), "memory: values must be finite")
        for layer, tier in self.fixed.items():
            require(0 <= layer < count and 0 <= tier < shape[0], f"fixed: no layer {layer} at tier {tier}")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition; costs in seconds.

    Attributes:
        tier_of_layer: Tier per layer.
        crossing: Names of tensors per hop.
        compute: Summed over layers.
        transfer: Summed over hops, including fixed costs.
        bound: Lower bound of the cost of every partition.
        exact: Whether the bound equals the cost up to 1e-6 of it.
    """

    tier_of_layer: tuple[int, ...]
    crossing: tuple[tuple[str, ...], ...]
    cost: float
    compute: float
    transfer: float
    bound: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Unpartitionable:
    """No partition was found; `proven` is True if none exists."""

    reasons: tuple[str, ...]
    proven: bool = True
