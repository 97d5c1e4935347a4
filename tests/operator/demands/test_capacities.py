"""What a Node object says pods can use of it."""

from math import inf
from typing import Any

import pytest

from edge_operator.pool_nodes import node_of


@pytest.mark.parametrize(
    ("status", "cpu", "memory"),
    [
        ({"capacity": {"cpu": "4"}, "allocatable": {"cpu": "3800m", "memory": "3901Mi"}}, 0.95, 3901 << 20),
        ({"capacity": {"cpu": "500m"}, "allocatable": {"cpu": "0.5", "memory": "1e9"}}, 1.0, 1e9),
        ({"allocatable": {"cpu": "2", "memory": "16096428Ki"}}, 1.0, 16096428 << 10),
        ({"capacity": {"cpu": "0"}, "allocatable": {"cpu": "0", "memory": "1.5G"}}, 1.0, 1.5e9),
        ({"capacity": {"cpu": "2"}, "allocatable": {"cpu": "0"}}, 0.0, inf),
        ({"allocatable": {"memory": "1.2.3"}}, 1.0, inf),
        ({}, 1.0, inf),
    ],
)
def test_a_node_has_what_is_allocatable(status: dict[str, Any], cpu: float, memory: float) -> None:
    found = node_of({"metadata": {"name": "edge-a"}, "status": status})
    assert (found.cpu, found.memory) == (cpu, memory)
