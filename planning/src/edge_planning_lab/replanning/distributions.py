"""Vectorized distribution functions that numpy does not have: the normal's and Student's."""

import math

import numpy as np

from edge_planning_lab.replanning.arrays import Floats

_POINTS: Floats = np.linspace(-9.0, 9.0, 9001)
_BELOW: Floats = np.array([0.5 * math.erfc(-z * math.sqrt(0.5)) for z in _POINTS])

# log(Gamma(a + 1/2) / Gamma(a)) for a = 1, 3/2, 2, ...: the normalizing constant of Student's density.
GAMMA_RATIOS: Floats = np.array([math.lgamma(1.5 + n / 2) - math.lgamma(1 + n / 2) for n in range(512)])


def normal_below(z: Floats) -> Floats:
    """P(Z < z) of the standard normal, from a table; the error is below 1e-6."""
    return np.interp(z, _POINTS, _BELOW)


def student_below(t: Floats, freedom: Floats) -> Floats:
    """P(T < t) of Student's t with 2 or more degrees of freedom; the error is below 0.01.

    By Wallace's transformation of t into a normal deviate (Wallace 1959, "Bounds on normal approximations to
    Student's and the chi-square distributions").
    """
    z = np.sqrt(freedom * np.log1p(t * t / freedom)) * ((8 * freedom + 1) / (8 * freedom + 3))
    return normal_below(np.copysign(z, t))
