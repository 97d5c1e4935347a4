"""What a model costs on a device class, as measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite
from statistics import NormalDist

from edge_planning.costs.margins import conformal_quantile, ratios_needed
from edge_planning.errors import BadProfileError, require
from edge_planning.graphs.models import Exit


@dataclass(frozen=True, slots=True)
class Timing:
    """Mean and 95th percentile of a run, in seconds."""

    mean: float
    p95: float

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("p95", self.p95)):
            require(
                isfinite(value) and value >= 0, f"timing: {name} {value} s is not a time", BadProfileError
            )


@dataclass(frozen=True, slots=True)
class ClassProfile:
    """Timings of a model on one device class.

    segments: by (tensor from, tensor to). exits: by exit name, from the input to the exit in one piece, where
    that was measured; it then stands for the local route, which runs in one piece, and an exit's segments are
    scaled to sum to it: measured alone, each pays for a call of its own, and what else ran on the machine at
    that moment would make one cut look better than another. residuals: by exit name, ratios of measured to
    predicted compute time from serving; where there are enough for a percentile, they make the margin.
    before: by exit name, mean seconds of the layers before each of its cuts, and last of all its layers; it
    stands for segments where cuts are sets of tensors and nothing runs from one to the next.
    """

    name: str
    segments: Mapping[tuple[str, str], Timing]
    exits: Mapping[str, Timing] = field(default_factory=dict)
    residuals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    before: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def means(self, exit_: Exit) -> list[float]:
        """Mean seconds of each segment of the way to an exit; BadValueError names a segment not measured."""
        if (before := self._before(exit_)) is not None:
            return [later - earlier for earlier, later in pairwise(before)]
        means = [timing.mean for timing in self._timings(exit_)]
        whole, total = self.exits.get(exit_.name), sum(means)
        return [mean * whole.mean / total for mean in means] if whole and total > 0 else means

    def whole(self, exit_: Exit) -> float:
        """Mean seconds from the input to the exit in one piece."""
        if (before := self._before(exit_)) is not None:
            return before[-1]
        timing = self.exits.get(exit_.name)
        return timing.mean if timing else sum(t.mean for t in self._timings(exit_))

    def margin(self, exit_: Exit, percentile: float) -> float:
        """By what a mean is multiplied to give the percentile of the compute time on this class; at least 1.

        With enough residuals of the exit (19 for the 95th percentile) it is their conformal quantile (see
        costs.margins). Else the profile's mean and 95th percentile stand for it; in between and beyond, the
        distance from the mean is scaled as the quantiles of a normal distribution are. Below the median the
        mean itself is used. BadValueError: percentile is not between 0 and 100, or a residual is not above 0.
        """
        needed, residuals = ratios_needed(percentile), self.residuals.get(exit_.name, ())
        if len(residuals) >= needed:
            return max(conformal_quantile(residuals, percentile), 1.0)
        timing = self.exits.get(exit_.name) or self._summed(exit_)
        ratio = max(timing.p95 / timing.mean, 1.0) if timing.mean > 0 else 1.0
        normal = NormalDist()
        return 1 + (ratio - 1) * max(normal.inv_cdf(percentile / 100) / normal.inv_cdf(0.95), 0.0)

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
            f"device class {self.name}: {before} are not the seconds before each of the "
            f"{len(exit_.cuts)} cuts of exit {exit_.name}, from 0 on, and of all",
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
