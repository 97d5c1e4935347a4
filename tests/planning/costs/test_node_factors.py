"""A node that is unlike its device class is found, by which factor, and not others with it."""

import pytest

from edge_planning.costs.node_factors import node_factors
from edge_planning.errors import BadValueError


def of(**ratios: float) -> dict[str, dict[str, float]]:
    return {name: {"final": ratio} for name, ratio in ratios.items()}


def test_a_slow_node_among_others_has_its_factor() -> None:
    assert node_factors(of(a=1.0, b=1.05, c=2.0), {}) == {"c": 2.0}


def test_of_two_nodes_the_one_that_departs_from_the_measurement_is_unlike() -> None:
    assert node_factors(of(a=1.0, b=2.0), {}) == {"b": 2.0}


def test_a_class_that_is_slow_as_a_whole_is_not_unlike_itself() -> None:
    assert node_factors(of(a=1.6, b=1.5, c=1.55), {}) == {}


def test_the_only_node_of_a_class_is_compared_with_the_measurement() -> None:
    assert node_factors(of(a=1.8), {}) == {"a": 1.8}


def test_a_node_that_is_faster_than_its_class_is_unlike_it_too() -> None:
    assert node_factors(of(a=1.0, b=1.0, c=0.5), {}) == {"c": 0.5}


def test_several_exits_count_by_their_median() -> None:
    medians = {"a": {"x": 1.0, "y": 1.0}, "b": {"x": 1.0, "y": 1.0}, "c": {"x": 2.0, "y": 3.0}}
    assert node_factors(medians, {}) == {"c": 2.5}


def test_noise_neither_changes_a_factor_nor_ends_it() -> None:
    assert node_factors(of(a=1.0, b=1.0, c=1.25), {}) == {}
    assert node_factors(of(a=1.0, b=1.0, c=1.25), {"c": 1.4}) == {"c": 1.4}
    assert node_factors(of(a=1.0, b=1.0, c=2.0), {"c": 1.4}) == {"c": 2.0}
    assert node_factors(of(a=1.0, b=1.0, c=1.1), {"c": 1.4}) == {}


def test_a_node_without_ratios_is_left_out_and_a_wrong_one_is_rejected() -> None:
    assert node_factors({"a": {}, "b": {"final": 3.0}}, {}) == {"b": 3.0}
    with pytest.raises(BadValueError, match="node a"):
        node_factors(of(a=0.0), {})
