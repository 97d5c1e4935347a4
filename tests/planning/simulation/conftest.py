from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edge_planning_lab.baselines import Fixed, Policy, Power, SimulatedCandidates
from edge_planning_lab.simulation import Bandwidth, Scenario, SimulatedServer, Stream, Uplink

MakeOptions = Callable[..., SimulatedCandidates]
MakeScenario = Callable[..., Scenario]


@pytest.fixture
def options() -> MakeOptions:
    return make_options


def make_options(deadline: float = 0.5, power: Power | None = None) -> SimulatedCandidates:
    """A small exit (0.6) of 200 ms at the node and a full model (0.9) of 800 ms there.

    Both can be cut at the input (100 kbit) and at a trunk tensor (20 kbit) behind 50 ms of the node; beyond
    the link the small one takes 10 ms, the full one 40 ms; the round trip takes 10 ms.
    """
    names = ("small@local", "small@input", "small@trunk", "full@local", "full@input", "full@trunk")
    head = np.array([0.2, 0.0, 0.05, 0.8, 0.0, 0.05])
    rest = np.full((6, 6), np.inf)
    rest[:, 0] = [0.2, 0.2, 0.15, 0.15, 0.2, 0.15]
    rest[:, 3] = [0.75, 0.8, 0.75, 0.8, 0.8, 0.75]
    return SimulatedCandidates(
        names=names,
        exit=(0, 0, 0, 1, 1, 1),
        head=head,
        tail=np.array([0.0, 0.01, 0.005, 0.0, 0.04, 0.035]),
        fixed=np.array([0.0, 0.01, 0.01, 0.0, 0.01, 0.01]),
        bits=np.array([0.0, 1e5, 2e4, 0.0, 1e5, 2e4]),
        accuracy=np.array([0.6, 0.6, 0.6, 0.9, 0.9, 0.9]),
        deadline=deadline,
        rest=rest,
        power=power or Power(),
    )


@pytest.fixture
def scenario() -> MakeScenario:
    return make_scenario


def make_scenario(
    policy: Policy[Any] | str,
    arrivals: Sequence[float],
    options: SimulatedCandidates | None = None,
    bandwidth: Bandwidth | float = 1e6,
    duration: float = 100.0,
    instances: int = 1,
    **more: Any,
) -> Scenario:
    """One service at one node; a policy's name is a candidate that always responds."""
    options = options or make_options()
    chosen = Fixed(policy, options.find(policy)) if isinstance(policy, str) else policy
    link = Bandwidth.constant(bandwidth) if isinstance(bandwidth, float) else bandwidth
    stream = Stream("s", "t", "n", "up", "triton", options, chosen, np.array(arrivals, dtype=np.float64))
    return Scenario(
        [Uplink("up", link)],
        [SimulatedServer("triton", instances)],
        [stream],
        duration,
        **more,
    )
