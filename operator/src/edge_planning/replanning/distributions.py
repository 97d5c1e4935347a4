"""Distribution functions that numpy lacks, vectorised: the normal's and Student's."""

import math

import numpy as np

from edge_planning.replanning.arrays import Floats

_COUNTS = 512


def normal_below(z: Floats) -> Floats:
    """P(Z < z) of the standard normal.

    By Abramowitz and Stegun, formula 7.1.26, whose error is below 1.5e-7.
    """
    x = np.abs(z) * math.sqrt(0.5)
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * series * np.exp(-x * x)
    return np.where(z < 0, tail, 1 - tail)


def student_below(t: Floats, freedom: Floats) -> Floats:
    """P(T < t) of Student's t; freedom of 2 and more, where the error is below 0.01.

    Wallace's transformation of t into a normal deviate (Wallace 1959, Annals of Mathematical Statistics).
    """
    z = np.sqrt(freedom * np.log1p(t * t / freedom)) * ((8 * freedom + 1) / (8 * freedom + 3))
    return normal_below(np.copysign(z, t))


# log(Gamma(a + 1/2) / Gamma(a)) for a = 1, 3/2, 2, ...: the normalising constant of Student's density.
GAMMA_RATIOS: Floats = np.array([math.lgamma(1.5 + n / 2) - math.lgamma(1 + n / 2) for n in range(_COUNTS)])
