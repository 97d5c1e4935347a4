"""The requirement of a route at the shape of a request."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.costs.curves import Curve
from edge_planning.routing.routes import RouteRequirement
from edge_planning.routing.shaped_routes import ShapedRoute, at_size

PLANNED, SLO = 400.0, 0.5
SPLIT = RouteRequirement(1e6, remote=True, worth=0.9, latency=0.3, here=0.1, beyond=0.1, bits=1e5, alone=5e5)
COSTS = ShapedRoute(
    here=Curve((100.0, 400.0), (0.025, 0.1)),
    beyond=Curve((100.0, 400.0), (0.025, 0.1)),
    bits=Curve((100.0, 400.0), (2.5e4, 1e5)),
)


def test_a_request_of_the_planned_size_has_the_planned_requirement() -> None:
    found = at_size(SPLIT, COSTS, PLANNED, PLANNED, SLO)
    assert (found.min_bandwidth, found.here, found.beyond, found.bits, found.latency) == pytest.approx(
        (1e6, 0.1, 0.1, 1e5, 0.3)
    )


def test_a_smaller_request_needs_less_bandwidth_and_time() -> None:
    found = at_size(SPLIT, COSTS, PLANNED, 100.0, SLO)
    assert (found.here, found.bits) == pytest.approx((0.025, 2.5e4))
    # 0.1 s of transfer and 0.15 s less computation remain for a quarter of the bits.
    assert found.min_bandwidth == pytest.approx(1e5, abs=1)
    assert found.latency == pytest.approx(0.15)


def test_a_request_whose_computation_alone_is_too_long_is_never_covered() -> None:
    found = at_size(SPLIT, COSTS, PLANNED, 800.0, SLO)
    assert found.min_bandwidth == inf
    assert found.alone == inf


def test_a_local_route_has_no_bandwidth_at_any_size() -> None:
    local = RouteRequirement(0.0, remote=False, worth=0.9, latency=0.1, here=0.1)
    found = at_size(local, ShapedRoute(here=COSTS.here), PLANNED, 800.0, SLO)
    assert (found.min_bandwidth, found.bits) == (0.0, 0.0)
    assert (found.here, found.latency) == pytest.approx((0.2, 0.2))


def test_costs_that_are_not_known_stay_as_planned() -> None:
    assert at_size(SPLIT, ShapedRoute(), PLANNED, 100.0, SLO).here == SPLIT.here


@given(st.floats(1, 1e4), st.floats(1, 1e4))
def test_a_larger_request_never_needs_less(one: float, other: float) -> None:
    small, large = (at_size(SPLIT, COSTS, PLANNED, size, SLO) for size in sorted((one, other)))
    assert small.min_bandwidth <= large.min_bandwidth
    assert small.here <= large.here + 1e-12
    assert small.bits <= large.bits + 1e-6
