"""Statistics of a link, from which a new run starts."""

import math
from dataclasses import dataclass

NOISE = 0.02  # minimum relative error of a sample
MEMORY = 1000.0  # samples over which the statistics of a link are averaged
STEPS = 200.0  # samples over which the size of its steps is averaged


@dataclass(frozen=True, slots=True)
class Habits:
    """Moments of the log-bandwidth (natural logarithm of bit/s), learned from all samples of the link.

    The defaults are a guess that two samples outweigh: 1 Mbit/s within a factor of 4.5.

    Attributes:
        center, spread: Mean and variance.
        noise: Variance of samples within a run.
        samples: Number of samples of these moments.
        last: The last sample.
        step: Squared scale of the difference between consecutive samples.
    """

    center: float = math.log(1e6)
    spread: float = 2.25
    noise: float = 0.04
    samples: float = 2.0
    last: float = math.log(1e6)
    step: float = 0.1

    def after(self, value: float, noise: float) -> "Habits":
        """Returns the moments after one more sample; `noise` is the geometric mean of the runs' variances.

        `step` is the scale of a Student's t with two degrees of freedom, updated by one step of expectation
        maximization (Lange, Little and Taylor 1989), so that a few large steps do not widen it.
        """
        samples = min(self.samples + 1, MEMORY)
        part = 1 / samples
        distance = value - self.center
        squared = (value - self.last) ** 2
        pull = 3 * squared / (2 + squared / self.step) - self.step
        spread = (1 - part) * (self.spread + part * distance * distance)
        inside = math.exp((1 - part) * math.log(self.noise) + part * math.log(noise))
        inside = min(max(inside, NOISE**2), spread)
        return Habits(
            center=self.center + part * distance,
            spread=max(spread, 4 * inside),
            noise=inside,
            samples=samples,
            last=value,
            step=max(self.step + pull / min(samples, STEPS), NOISE**2),
        )
