"""Costs of a model at any shape of its inputs, from those at a few shapes.

The size of a request is the number of elements of its inputs for a batch of one. Times and bytes are curves
of that size (costs.curves).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from edge_planning.costs.curves import Curve
from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.errors import BadModelError, BadProfileError, require
from edge_planning.graphs.models import Cut, Model

Shapes = Mapping[str, Sequence[int]]
"""The shape of each input, by name."""


def size_of(shapes: Shapes) -> float:
    """Returns the size of a request: the number of elements of all its inputs."""
    return float(sum(prod(shape) for shape in shapes.values()))


@dataclass(frozen=True, slots=True)
class ShapedProfile:
    """The timings of a model on one device class at a few sizes.

    Raises:
        BadProfileError: There are none, or they measure different segments.
    """

    sizes: tuple[float, ...]
    profiles: tuple[ClassProfile, ...]

    def __post_init__(self) -> None:
        require(
            0 < len(self.sizes) == len(self.profiles),
            f"shaped profile: {len(self.profiles)} profiles at {len(self.sizes)} sizes: give one for each",
            BadProfileError,
        )
        first = self.profiles[0]
        for size, profile in zip(self.sizes, self.profiles, strict=True):
            require(
                _parts(profile) == _parts(first),
                f"device class {first.name}: what is measured at {size:g} elements is not what is measured "
                f"at {self.sizes[0]:g}: measure the same segments and exits at each shape",
                BadProfileError,
            )

    def at(self, size: float) -> ClassProfile:
        """Returns the profile at a size. Margins and the time outside of inference do not depend on it."""
        first = self.profiles[0]
        return replace(
            first,
            segments={
                segment: self._timing([profile.segments[segment] for profile in self.profiles], size)
                for segment in first.segments
            },
            exits={
                name: self._timing([profile.exits[name] for profile in self.profiles], size)
                for name in first.exits
            },
            before={
                name: tuple(
                    self._curve(seconds).at(size)
                    for seconds in zip(*(profile.before[name] for profile in self.profiles), strict=True)
                )
                for name in first.before
            },
        )

    @property
    def error(self) -> float | None:
        """The largest relative error of an exit's mean time between the sizes, as Curve.error."""
        curves = (
            self._curve([profile.exits[name].mean for profile in self.profiles])
            for name in self.profiles[0].exits
        )
        return max((curve.error for curve in curves if curve.error is not None), default=None)

    def _timing(self, measured: Sequence[Timing], size: float) -> Timing:
        mean = self._curve([timing.mean for timing in measured]).at(size)
        return Timing(mean, max(self._curve([timing.p95 for timing in measured]).at(size), mean))

    def _curve(self, values: Sequence[float]) -> Curve:
        return Curve.through(zip(self.sizes, values, strict=True))


@dataclass(frozen=True, slots=True)
class ShapedModel:
    """A model with the bytes of its cuts at a few sizes.

    bytes: by exit and cut, by name; one for each size.

    Raises:
        BadModelError: A cut of the model has no bytes for a size.
    """

    model: Model
    sizes: tuple[float, ...]
    bytes: Mapping[tuple[str, str], Sequence[float]]

    def __post_init__(self) -> None:
        for exit_ in self.model.exits:
            for cut in exit_.cuts:
                found = self.bytes.get((exit_.name, cut.name), ())
                require(
                    0 < len(found) == len(self.sizes),
                    f"model {self.model.name}: cut {cut.name} of exit {exit_.name} has {len(found)} sizes in "
                    f"bytes for {len(self.sizes)} shapes: give one for each",
                    BadModelError,
                )

    def at(self, size: float) -> Model:
        """Returns the model with the bytes of its cuts at a size, rounded up."""
        exits = tuple(
            replace(
                exit_, cuts=tuple(Cut(cut.tensors, self._sent(exit_.name, cut, size)) for cut in exit_.cuts)
            )
            for exit_ in self.model.exits
        )
        return replace(self.model, exits=exits)

    def _sent(self, exit_: str, cut: Cut, size: float) -> int:
        curve = Curve.through(zip(self.sizes, self.bytes[exit_, cut.name], strict=True))
        return max(ceil(curve.at(size) - _ROUNDING), 1)


_ROUNDING = 1e-6
"""Bytes by which a curve can exceed an exact number of bytes."""


def _parts(profile: ClassProfile) -> tuple[object, ...]:
    return (
        set(profile.segments),
        set(profile.exits),
        {name: len(before) for name, before in profile.before.items()},
    )
