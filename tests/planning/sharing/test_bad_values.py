"""Invalid values of a problem are named."""

import numpy as np
import pytest

from edge_planning.errors import BadValueError
from edge_planning.sharing import (
    Demand,
    Option,
    SharedResource,
    SharingProblem,
    Tenant,
    from_arrays,
    share,
    sharing_problem,
)


def problem(
    *,
    value: float = 0.9,
    use: float = 0.5,
    resource: str = "cpu",
    rate: float = 1.0,
    tenants: tuple[str, ...] = ("t",),
    resources: tuple[str, ...] = ("cpu",),
    services: tuple[str, ...] = ("s",),
    tenant: str = "t",
    current: int | None = None,
    options: int = 1,
) -> SharingProblem:
    one = Option(value, {resource: use})
    demands = [Demand(name, "edge", tenant, (one,) * options, rate, current=current) for name in services]
    return sharing_problem([Tenant(n) for n in tenants], [SharedResource(n, 1.0) for n in resources], demands)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": float("nan")}, "s@edge: value"),
        ({"value": -0.1}, "s@edge: value"),
        ({"use": -1.0}, "s@edge: use"),
        ({"use": float("nan")}, "s@edge: use"),
        ({"rate": 0.0}, "s@edge: rate"),
        ({"resource": "gpu"}, "s@edge: .*resource gpu"),
        ({"tenant": "x"}, "s@edge: .*tenant x"),
        ({"tenants": ("t", "t")}, "tenant t .*twice"),
        ({"resources": ("cpu", "cpu")}, "resource cpu .*twice"),
        ({"services": ("s", "s")}, "demand s@edge .*twice"),
        ({"options": 0}, "s@edge: no candidate"),
        ({"current": 3}, "s@edge: .*current candidate"),
    ],
)
def test_a_bad_value_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        problem(**changes)  # type: ignore[arg-type]


def test_an_empty_pool_is_named() -> None:
    with pytest.raises(BadValueError, match="resources: "):
        sharing_problem([Tenant("t")], [], [])
    with pytest.raises(BadValueError, match="demands: "):
        share(sharing_problem([Tenant("t")], [SharedResource("cpu", 1.0)], []))


@pytest.mark.parametrize("capacity", [-1.0, float("nan"), float("inf")])
def test_a_bad_capacity_is_named(capacity: float) -> None:
    with pytest.raises(BadValueError, match=f"resource cpu: capacity {capacity}"):
        SharedResource("cpu", capacity)
    with pytest.raises(BadValueError, match=f"resource cpu: capacity {capacity}"):
        problem().with_capacities({"cpu": capacity})


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_a_bad_weight_is_named(weight: float) -> None:
    with pytest.raises(BadValueError, match=f"tenant t: weight {weight}"):
        Tenant("t", weight)


def test_a_candidate_that_uses_a_resource_without_capacity_is_not_chosen() -> None:
    demand = Demand("s", "edge", "t", (Option(0.9, {"uplink": 1.0}), Option(0.5, {"cpu": 0.5})))
    shared = share(
        sharing_problem([Tenant("t")], [SharedResource("uplink", 0.0), SharedResource("cpu", 1.0)], [demand])
    )
    assert np.array_equal(shared.choices, [1])


def test_a_resource_that_a_demand_uses_twice_is_named() -> None:
    with pytest.raises(BadValueError, match=r"demand 0: .*resource"):
        from_arrays(
            tenants=[Tenant("t")],
            resources=[SharedResource("cpu", 1.0)],
            tenant=np.array([0]),
            rate=np.array([1.0]),
            value=np.array([[0.9]]),
            rows=np.array([[0, 0]]),
            uses=np.array([[[0.6], [0.6]]]),
        )


def test_an_array_of_another_shape_is_named() -> None:
    with pytest.raises(BadValueError, match=r"rate: shape \(2,\) .*\(1,\)"):
        from_arrays(
            tenants=[Tenant("t")],
            resources=[SharedResource("cpu", 1.0)],
            tenant=np.array([0]),
            rate=np.array([1.0, 1.0]),
            value=np.array([[0.9]]),
            rows=np.array([[0]]),
            uses=np.array([[[0.6]]]),
        )
