"""The oracle under load: requests that it does not serve, and room for later ones."""

import numpy as np
import pytest

from edge_planning_lab.baselines import Oracle, Request, SimulatedCandidates
from edge_planning_lab.simulation import Bandwidth


def options(*, image: bool = True) -> SimulatedCandidates:
    """Exits of 0.6 and 0.9 at the node (100, 400 ms), and the second over the link (100 kbit)."""
    kept = 3 if image else 2
    return SimulatedCandidates(
        names=("small@local", "full@local", "full@input")[:kept],
        exit=(0, 1, 1)[:kept],
        head=np.array([0.1, 0.4, 0.0][:kept]),
        tail=np.array([0.0, 0.0, 0.02][:kept]),
        fixed=np.array([0.0, 0.0, 0.01][:kept]),
        bits=np.array([0.0, 0.0, 1e5][:kept]),
        accuracy=np.array([0.6, 0.9, 0.9][:kept]),
        deadline=0.5,
        rest=np.full((3, 3), np.inf)[:kept, :kept],
    )


SLOW, FAST = Bandwidth.constant(1e5), Bandwidth.constant(1e6)


def test_the_oracle_counts_its_own_queue() -> None:
    alone, _ = Oracle(SLOW).decide(Request(options()), None, 0.0)
    behind, _ = Oracle(SLOW).decide(Request(options(), wait=0.2), None, 0.0)
    assert (alone.index, behind.index) == (1, 0)


def test_a_request_that_cannot_be_in_time_uses_neither_node_nor_link() -> None:
    answer, _ = Oracle(SLOW).decide(Request(options(), wait=0.6), None, 0.0)
    assert (answer.index, answer.within) == (2, 0.0)
    at_home, _ = Oracle(SLOW).decide(Request(options(image=False), wait=0.6), None, 0.0)
    assert (at_home.index, at_home.within) == (0, None)


@pytest.mark.parametrize(
    ("node_price", "link_price", "index"),
    [(0.0, 0.0, 2), (1.5, 0.0, 2), (0.0, 10.0, 1), (1.5, 10.0, 0)],
)
def test_a_price_leaves_room_at_the_node_or_on_the_link(
    node_price: float, link_price: float, index: int
) -> None:
    oracle = Oracle(FAST, node_price=node_price, link_price=link_price)
    assert oracle.decide(Request(options()), None, 0.0)[0].index == index


def test_a_request_that_adds_less_than_its_price_is_not_served() -> None:
    answer, _ = Oracle(FAST, node_price=10.0, link_price=10.0).decide(Request(options()), None, 0.0)
    assert answer.within == 0.0
