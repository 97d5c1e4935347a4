"""Measured compute times of a model on a device class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite
from statistics import NormalDist
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge_planning.costs.packing import Packing
from edge_planning.errors import BadProfileError, require
from edge_planning.graphs.models import Exit

Amount = TypeVar("Amount", float, npt.NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Timing:
    """Mean and 95th percentile of the time of a run, in seconds."""

    mean: float
    p95: float

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("p95", self.p95)):
            require(
                isfinite(value) and value >= 0,
                f"timing: {name} {value} s must be finite and >= 0",
                BadProfileError,
            )


@dataclass(frozen=True, slots=True)
class RequestTime:
    """Time that requests take from all processors of a node outside of inference, in seconds.

    Attributes:
        receive, receive_byte: To receive a request and respond to it, and more for each byte of its inputs.
        hop, hop_byte: To send activations to the next stage and read its response, and more for each byte of
            the activations.
        respond_byte, reply_byte: More for each byte of a response that is not small: to write it, and to read
            that of a hop.
    """

    receive: float
    receive_byte: float
    hop: float
    hop_byte: float
    respond_byte: float = 0.0
    reply_byte: float = 0.0

    def __post_init__(self) -> None:
        for name in ("receive", "receive_byte", "hop", "hop_byte", "respond_byte", "reply_byte"):
            value = getattr(self, name)
            require(
                isfinite(value) and value >= 0,
                f"request time: {name} {value} s must be finite and >= 0",
                BadProfileError,
            )

    def of(self, received: Amount, sent: Amount, response: float = 0.0) -> Amount:
        """Returns the seconds of requests with so many bytes received and sent on; 0 sent: no hop.

        response: bytes of the response that count, see edge_planning.responses.
        """
        hop = (sent > 0) * (self.hop + sent * self.hop_byte + response * self.reply_byte)
        return self.receive + received * self.receive_byte + response * self.respond_byte + hop


@dataclass(frozen=True, slots=True)
class ClassProfile:
    """Timings of a model on one device class.

    Attributes:
        segments: By (tensor from, tensor to).
        exits: By exit name, from the input to the exit in one piece, where measured. It is the time of the
            local route, which runs in one piece, and the exit's segments are scaled to sum to it. Measured
            alone, each segment includes the overhead of a call, and other load during its measurement would
            make one cut look better than another.
        margins: By exit name, the margin to plan with (costs.margins), in place of the measured spread.
        before: By exit name, mean seconds of the layers before each of its cuts, then of all its layers. It
            replaces `segments` for cuts that are sets of tensors.
        requests: Time outside of inference; None if it is not measured, and then not counted.
        shapes: Shape of each input that the times are for, by name; empty if all shapes are fixed.
        assumptions: Sentences about sizes that were assumed for the times. Plans repeat them.
        packing: What packed weights cost and save. All times are those with packed weights. None: not
            measured, and a slice takes as much memory as its file.
        packed: Whether the weights are packed.
    """

    name: str
    segments: Mapping[tuple[str, str], Timing]
    exits: Mapping[str, Timing] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    before: Mapping[str, Sequence[float]] = field(default_factory=dict)
    requests: RequestTime | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    packing: Packing | None = None
    packed: bool = True

    @property
    def packs(self) -> bool | None:
        """Whether the weights are packed; None if there is no choice, since nothing was measured of it."""
        return None if self.packing is None else self.packed

    @property
    def memory(self) -> float:
        """Bytes of memory for each byte of a slice's file."""
        if self.packing is None:
            return 1.0
        return self.packing.packed if self.packed else self.packing.unpacked

    def means(self, exit_: Exit) -> list[float]:
        """Returns the mean seconds of each segment of an exit; BadProfileError if one is not measured."""
        if (before := self._before(exit_)) is not None:
            means = [later - earlier for earlier, later in pairwise(before)]
        else:
            means = [timing.mean for timing in self._timings(exit_)]
            whole, total = self.exits.get(exit_.name), sum(means)
            means = [mean * whole.mean / total for mean in means] if whole and total > 0 else means
        return means if self._slowdown == 1 else [mean * self._slowdown for mean in means]

    def whole(self, exit_: Exit) -> float:
        """Returns the mean seconds from the input to the exit in one piece."""
        if (before := self._before(exit_)) is not None:
            return before[-1] * self._slowdown
        timing = self.exits.get(exit_.name)
        return (timing.mean if timing else sum(t.mean for t in self._timings(exit_))) * self._slowdown

    def margin(self, exit_: Exit, percentile: float) -> float:
        """Returns the factor from the mean to the percentile of the compute time on this class, at least 1.

        Without an entry in `margins` it follows from the profile's mean and 95th percentile: other
        percentiles scale the distance from the mean like the quantiles of a normal distribution. Below the
        median the factor is 1.

        Raises:
            BadValueError: The percentile is not between 0 and 100.
        """
        require(0 < percentile < 100, f"margin: percentile {percentile} is not between 0 and 100")
        if (planned := self.margins.get(exit_.name)) is not None:
            return planned
        timing = self.exits.get(exit_.name) or self._summed(exit_)
        ratio = max(timing.p95 / timing.mean, 1.0) if timing.mean > 0 else 1.0
        normal = NormalDist()
        return 1 + (ratio - 1) * max(normal.inv_cdf(percentile / 100) / normal.inv_cdf(0.95), 0.0)

    @property
    def _slowdown(self) -> float:
        return 1.0 if self.packed or self.packing is None else self.packing.slowdown

    def _before(self, exit_: Exit) -> Sequence[float] | None:
        before = self.before.get(exit_.name)
        require(
            before is None
            or (
                len(before) == len(exit_.cuts) + 1
                and before[0] == 0
                and before[-1] < inf
                and all(earlier <= later for earlier, later in pairwise(before))
            ),
            f"device class {self.name}: {before} must be the seconds before each of the "
            f"{len(exit_.cuts)} cuts of exit {exit_.name}, rising from 0, and of all layers",
            BadProfileError,
        )
        return before

    def _summed(self, exit_: Exit) -> Timing:
        if (before := self._before(exit_)) is not None:
            return Timing(before[-1], before[-1])
        timings = self._timings(exit_)
        return Timing(sum(t.mean for t in timings), sum(t.p95 for t in timings))

    def _timings(self, exit_: Exit) -> list[Timing]:
        try:
            return [self.segments[segment] for segment in exit_.segments()]
        except KeyError as missing:
            start, end = missing.args[0]
            raise BadProfileError(
                f"device class {self.name}: the segment from {start} to {end} of exit {exit_.name} is not "
                f"measured"
            ) from None
