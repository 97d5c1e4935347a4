"""Bayesian online change-point detection on the logarithm of the bandwidth.

The recursion over run lengths is that of Adams and MacKay (2007, "Bayesian Online Changepoint Detection",
section 2) with the normal-inverse-gamma prior of its conjugate Gaussian model, which makes the prediction of
each run a Student's t. Four things are added:

- time is continuous: a gap of dt seconds has a change with probability 1 - exp(-hazard dt);
- neither the hazard nor the drift of the level inside a run is set: a grid of both is carried along, and the
  data weigh them (Wilson, Nassar and Gold 2010 do it for the hazard);
- what a new run begins with is not set either, but learnt from what the link has shown so far;
- a residual beyond `CLIP` deviations is cut there before it moves a run's level (Huber's psi), so one outlier
  does not spoil a long run.

Only the `RUNS` likeliest runs are kept, so a step costs the same at any age.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from edge_planning.errors import require
from edge_planning.replanning.arrays import Floats, Integers
from edge_planning.replanning.distributions import GAMMA_RATIOS, student_below

RUNS = 24
HAZARDS: Floats = np.array([1 / 600, 1 / 60, 1 / 6])  # changes per second
DRIFTS: Floats = np.array([0.0, 0.001, 0.01, 0.1])  # variance of the level per second, a random walk
CLIP = 3.0
LONGEST = 200  # samples that a run remembers for its variance
FORGETTING = 0.002  # weight that the grid's models share at each sample (Herbster, Warmuth: fixed share)
NOISE = 0.02  # relative error that every sample has at least


@dataclass(frozen=True, slots=True)
class Habits:
    """What the link has shown so far: where a new run may begin.

    center, spread: mean and variance of the log-bandwidth (natural logarithm of bit/s). noise: variance of
    samples inside a run. weight: how much evidence is behind center and spread, in samples.
    """

    center: float = math.log(1e6)
    spread: float = 2.25
    noise: float = 0.04
    weight: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The posterior over when the present run began.

    weight: [hazards, drifts, runs], sums to 1. mean (log bit/s), kappa, beta: [drifts, runs], count: [runs],
    the normal-inverse-gamma parameters of each run, with alpha = 1 + count / 2.
    """

    weight: Floats
    mean: Floats
    kappa: Floats
    beta: Floats
    count: Integers
    habits: Habits

    @property
    def alpha(self) -> Floats:
        return 1 + self.count / 2

    @property
    def noise(self) -> Floats:
        """The variance of one sample in each run: [drifts, runs]."""
        return self.beta / self.alpha


def new_runs() -> Runs:
    """Before the first sample: one run that has only the prior."""
    habits = Habits()
    one = np.ones((len(DRIFTS), 1))
    weight = np.ones((len(HAZARDS), len(DRIFTS), 1))
    kappa = one * habits.noise / habits.spread
    return Runs(weight / weight.size, one * habits.center, kappa, one * habits.noise, np.array([0]), habits)


def aged(runs: Runs, seconds: float) -> Runs:
    """The posterior after some seconds without a sample: a change may have come, and levels have drifted."""
    require(seconds >= 0, f"{seconds} s between two observations is negative or not a number")
    habits = runs.habits
    stay = np.exp(-HAZARDS * seconds)[:, None, None]
    fresh = (runs.weight * (1 - stay)).sum(axis=2, keepdims=True)
    spread = 1 / runs.kappa + DRIFTS[:, None] * seconds / runs.noise
    column = np.ones((len(DRIFTS), 1))
    prior = habits.noise / habits.spread
    return Runs(
        np.concatenate((runs.weight * stay, fresh), axis=2),
        np.concatenate((runs.mean, column * habits.center), axis=1),
        np.concatenate((1 / spread, column * prior), axis=1),
        np.concatenate((runs.beta, column * habits.noise), axis=1),
        np.append(runs.count, 0),
        habits,
    )


def updated(runs: Runs, value: float, error: float = 0.0) -> Runs:
    """The posterior after a sample of the log-bandwidth with a variance of its own; `aged` comes first."""
    noise = runs.noise
    variance = noise * (1 + 1 / runs.kappa) + error
    residual = value - runs.mean
    weight = runs.weight * _density(residual, variance, runs.count)
    weight /= weight.sum()
    models = weight.sum(axis=2, keepdims=True)
    weight *= 1 - FORGETTING + FORGETTING / models.size / np.maximum(models, 1e-300)
    deviation = np.sqrt(variance) * CLIP
    residual = np.clip(residual, -deviation, deviation)
    share = noise / (noise + error)
    kappa = runs.kappa + share
    count = np.minimum(runs.count + 1, LONGEST)
    beta = runs.beta + 0.5 * share * runs.kappa / kappa * residual * residual
    beta *= np.where(runs.count == LONGEST, (1 + LONGEST / 2) / (1.5 + LONGEST / 2), 1.0)
    after = Runs(weight, runs.mean + share / kappa * residual, kappa, beta, count, runs.habits)
    return _pruned(replace(after, habits=_learnt(after, value)))


def censored(runs: Runs, value: float, *, below: bool) -> Runs:
    """The posterior after learning only that the log-bandwidth is below (or above) a value.

    Runs are weighed by the probability of that; those that expected the other side are moved as by a sample
    at the bound itself, the others are left alone.
    """
    variance = runs.noise * (1 + 1 / runs.kappa)
    probability = student_below((value - runs.mean) / np.sqrt(variance), 2 * runs.alpha)
    if not below:
        probability = 1 - probability
    weight = runs.weight * np.maximum(probability, 1e-12)
    wrong = np.where(runs.mean > value if below else runs.mean < value, 1.0, 0.0)
    kappa = runs.kappa + wrong
    mean = runs.mean + wrong * (value - runs.mean) / kappa
    return _pruned(replace(runs, weight=weight / weight.sum(), mean=mean, kappa=kappa))


def _density(residual: Floats, variance: Floats, count: Integers) -> Floats:
    """Student's density with 2 alpha degrees of freedom, but for a constant factor."""
    freedom = 2 + count
    power = np.log1p(residual * residual / (freedom * variance))
    logarithm = GAMMA_RATIOS[count] - 0.5 * np.log(freedom * variance) - 0.5 * (freedom + 1) * power
    density: Floats = np.exp(logarithm)
    return density


def _learnt(runs: Runs, value: float) -> Habits:
    """Running moments of all samples, and the noise inside the runs, older samples slowly forgotten."""
    old = runs.habits
    weight = min(old.weight + 1, 1000.0)
    step = 1 / weight
    distance = value - old.center
    spread = (1 - step) * (old.spread + step * distance * distance)
    inside = float(np.sum(runs.weight.sum(axis=0) * np.log(runs.noise)))
    noise = math.exp((1 - step) * math.log(old.noise) + step * inside)
    noise = min(max(noise, NOISE**2), spread)
    return Habits(old.center + step * distance, max(spread, 4 * noise), noise, weight)


def _pruned(runs: Runs) -> Runs:
    total = runs.weight.sum(axis=(0, 1))
    if len(total) <= RUNS:
        return runs
    keep = np.sort(np.argpartition(total, -RUNS)[-RUNS:])
    weight = runs.weight[:, :, keep]
    return Runs(
        weight / weight.sum(),
        runs.mean[:, keep],
        runs.kappa[:, keep],
        runs.beta[:, keep],
        runs.count[keep],
        runs.habits,
    )
