import numpy as np
import pytest
from scipy import stats

from edge_planning_lab.replanning.distributions import normal_below, student_below


def test_the_normal_distribution_is_that_of_scipy() -> None:
    z = np.linspace(-8, 8, 1001)

    assert np.abs(normal_below(z) - stats.norm.cdf(z)).max() < 1e-6


@pytest.mark.parametrize(("freedom", "error"), [(2, 0.01), (3, 0.005), (10, 0.001), (200, 1e-5)])
def test_students_distribution_is_that_of_scipy_within_the_stated_error(freedom: int, error: float) -> None:
    t = np.linspace(-60, 60, 2001)

    assert np.abs(student_below(t, np.array(float(freedom))) - stats.t.cdf(t, freedom)).max() < error
