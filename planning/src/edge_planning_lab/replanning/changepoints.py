"""Bayesian online change-point detection on the logarithm of the bandwidth.

The recursion over run lengths is that of Adams and MacKay (2007, "Bayesian Online Changepoint Detection",
section 2) with the normal-inverse-gamma prior of its conjugate Gaussian model, which makes the prediction of
each run a Student's t. Extensions:

- time is continuous: a gap of dt seconds has a change with probability 1 - exp(-hazard dt);
- the hazard and the drift of the level within a run are not parameters: a grid of both runs in parallel and
  the data weight them (Wilson, Nassar and Gold 2010 do so for the hazard);
- the start of a new run is learned (`Habits`): anywhere in the range of the link, or near the last sample;
- a residual is clipped at CLIP deviations before it moves a run's level (Huber's psi), so that one outlier
  has a limited effect on a long run;
- only the RUNS most likely runs are kept, so that the cost of a step is bounded.
"""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.errors import require
from edge_planning_lab.replanning.arrays import Floats, Integers
from edge_planning_lab.replanning.distributions import GAMMA_RATIOS, student_below
from edge_planning_lab.replanning.habits import NOISE, Habits

RUNS = 16
# Changes per second. With the last one nearly every sample is its own run: the forecast is the last value.
HAZARDS: Floats = np.array([1 / 300, 1 / 30, 1 / 3, 3.0])
# Variance per second that drift adds to the level of a run, in squared units of the logarithm.
DRIFTS: Floats = np.array([0.0, 0.001, 0.006, 0.04, 0.25])
FAR = 0.3  # share of the changes that can lead anywhere, not near the last sample
CLIP = 2.0
LEAST_GAP = 1e-3  # seconds; simultaneous samples must be able to differ
LONGEST = 200  # maximum number of samples in the variance of a run
# Share of the weight redistributed among the grid's models per sample (Herbster and Warmuth 1998, fixed
# share).
EXCHANGE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The posterior over the start of the current run.

    Attributes:
        weight: [hazards, drifts, runs], sums to 1.
        mean, kappa, beta, count: Each run's normal-inverse-gamma distribution, with mean in log bit/s and
            alpha = 1 + count / 2; [drifts, runs], count [runs].
    """

    weight: Floats
    mean: Floats
    kappa: Floats
    beta: Floats
    count: Integers
    habits: Habits

    @property
    def noise(self) -> Floats:
        """Variance of one sample in each run [drifts, runs]."""
        return self.beta / (1 + self.count / 2)

    @property
    def variance(self) -> Floats:
        """Squared scale of each run's prediction, a Student's t [drifts, runs]."""
        return self.noise * (1 + 1 / self.kappa) + NOISE**2

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom of that Student's t [runs]."""
        return (2 + self.count).astype(np.float64)

    def below(self, value: float) -> float:
        """Returns the predicted probability of a log-bandwidth below a value."""
        each = student_below((value - self.mean) / np.sqrt(self.variance), self.freedom)
        return float((self.weight.sum(axis=0) * each).sum())


def new_runs() -> Runs:
    """Returns the state before the first sample: one run with the prior."""
    habits = Habits()
    one = np.ones((len(DRIFTS), 1))
    weight = np.full((len(HAZARDS), len(DRIFTS), 1), 1 / (len(HAZARDS) * len(DRIFTS)))
    kappa = one * habits.noise / habits.spread
    return Runs(weight, one * habits.center, kappa, one * habits.noise, np.zeros(1, dtype=np.int64), habits)


def aged(runs: Runs, seconds: float) -> Runs:
    """Returns the posterior after some seconds without a sample, with possible changes and drift.

    A level drifts like an Ornstein-Uhlenbeck process whose stationary distribution is that of the link's
    samples: at first like a random walk, finally back to the center. Two runs are appended: one that starts
    far from the last sample and one that starts near it.
    """
    require(seconds >= 0, f"{seconds} s between two observations must be >= 0")
    habits, old = runs.habits, len(runs.count)
    stay = np.exp(-HAZARDS * max(seconds, LEAST_GAP))[:, None]
    changed = runs.weight.sum(axis=2) * (1 - stay)
    weight = np.empty((len(HAZARDS), len(DRIFTS), old + 2))
    weight[:, :, :old] = runs.weight * stay[:, :, None]
    weight[:, :, old] = FAR * changed
    weight[:, :, old + 1] = (1 - FAR) * changed
    mean, kappa, beta = np.empty((3, len(DRIFTS), old + 2))
    fading = np.exp(-0.5 * DRIFTS / habits.spread * seconds)[:, None]
    drifted = habits.spread / runs.noise * (1 - fading * fading)
    mean[:, :old] = habits.center + fading * (runs.mean - habits.center)
    mean[:, old:] = habits.center, habits.last
    kappa[:, :old] = 1 / (fading * fading / runs.kappa + drifted)
    kappa[:, old:] = habits.noise / habits.spread, habits.noise / habits.step
    beta[:, :old] = runs.beta
    beta[:, old:] = habits.noise
    return Runs(weight, mean, kappa, beta, np.append(runs.count, (0, 0)), habits)


def updated(runs: Runs, value: float, error: float = 0.0) -> Runs:
    """Returns the posterior after a sample of the log-bandwidth whose measurement has the variance `error`.

    Call `aged` first, with the time since the last sample.
    """
    noise, error = runs.noise, error + NOISE**2
    variance = noise * (1 + 1 / runs.kappa) + error
    residual = value - runs.mean
    weight = runs.weight * _density(residual, variance, runs.count)
    weight /= weight.sum()
    models = weight.sum(axis=2, keepdims=True)
    weight *= 1 - EXCHANGE + EXCHANGE / models.size / np.maximum(models, 1e-300)
    limit = CLIP * np.sqrt(variance)
    residual = np.minimum(np.maximum(residual, -limit), limit)
    share = noise / (noise + error)
    kappa = runs.kappa + share
    beta = runs.beta + 0.5 * share * runs.kappa / kappa * residual * residual
    full = runs.count >= LONGEST
    beta = np.where(full, beta * ((1 + LONGEST / 2) / (1.5 + LONGEST / 2)), beta)
    count = np.where(full, LONGEST, runs.count + 1)
    inside = float(np.exp((weight.sum(axis=0) * np.log(noise)).sum()))
    habits = runs.habits.after(value, inside)
    return _pruned(Runs(weight, runs.mean + share / kappa * residual, kappa, beta, count, habits))


def censored(runs: Runs, value: float, *, below: bool) -> Runs:
    """Returns the posterior after an observation that the log-bandwidth is below (or above) a value.

    Runs are weighted by the probability of that. Those that expected the other side are moved as if by a
    sample at the bound; the others are unchanged. Call `aged` first.
    """
    probability = student_below((value - runs.mean) / np.sqrt(runs.variance), runs.freedom)
    weight = runs.weight * np.maximum(probability if below else 1 - probability, 1e-12)
    wrong = np.where((runs.mean > value) == below, 1.0, 0.0)
    kappa = runs.kappa + wrong
    mean = runs.mean + wrong * (value - runs.mean) / kappa
    return _pruned(replace(runs, weight=weight / weight.sum(), mean=mean, kappa=kappa))


def _density(residual: Floats, variance: Floats, count: Integers) -> Floats:
    """Returns Student's density with 2 + count degrees of freedom, up to a constant factor."""
    spread = (2 + count) * variance
    power = (1.5 + count / 2) * np.log1p(residual * residual / spread)
    density: Floats = np.exp(GAMMA_RATIOS[count] - 0.5 * np.log(spread) - power)
    return density


def _pruned(runs: Runs) -> Runs:
    total = runs.weight.sum(axis=(0, 1))
    if len(total) <= RUNS:
        return runs
    keep = np.sort(np.argpartition(total, -RUNS)[-RUNS:])
    weight = runs.weight.take(keep, axis=2)
    mean, kappa, beta = (column.take(keep, axis=1) for column in (runs.mean, runs.kappa, runs.beta))
    return Runs(weight / weight.sum(), mean, kappa, beta, runs.count[keep], runs.habits)
