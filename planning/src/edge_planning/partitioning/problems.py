"""A network to be spread over ordered tiers, and how it came out."""

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
    """Tiers in order; data only flows to later tiers, inputs start at tier 0.

    seconds: [tiers, layers]. hop_seconds_per_byte, hop_fixed: [tiers - 1]; the fixed seconds are paid once
    when anything runs behind the hop. returned: whether results travel back to tier 0 over the same hops.
    memory: bytes [layers]; limits: bytes [tiers], infinity for none. fixed: tier by layer number.
    objective: summed seconds, or the bottleneck: the largest of the tiers' and the hops' seconds (the heavy
    mode of DADS, Hu et al., INFOCOM 2019, with each hop as a stage).
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
            len(shape) == 2 and shape[0] >= 1 and shape[1] == count, f"seconds: shape {shape}, layers {count}"
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
                raise BadValueError(f"{name}: {values[wrong][:1]} is no finite number of 0 or more")
        require((self.memory is None) == (self.limits is None), "memory and limits come together")
        if self.memory is not None and self.limits is not None:
            for name, values, wanted in (
                ("memory", self.memory, (count,)),
                ("limits", self.limits, shape[:1]),
            ):
                require(values.shape == wanted, f"{name}: shape {values.shape}, not {wanted}")
                require(bool(np.all(values >= 0)), f"{name}: negative or NaN")
            require(bool(np.all(np.isfinite(self.memory))), "memory: infinite")
        for layer, tier in self.fixed.items():
            require(0 <= layer < count and 0 <= tier < shape[0], f"fixed: no layer {layer} at tier {tier}")


@dataclass(frozen=True, slots=True)
class Partition:
    """tier_of_layer: a tier per layer. crossing: names of tensors per hop. Seconds.

    compute: summed over layers; transfer: summed over hops, fixed costs included. bound: none costs less.
    exact: whether the bound meets the cost within 1e-6 of it.
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
    """No partition was found; proven says whether none exists."""

    reasons: tuple[str, ...]
    proven: bool = True
