"""The level of edge intelligence follows from where the active routes run."""

from typing import Any

import pytest

from edge_api import Placement
from edge_operator.pool.entries import Entry, ei_level
from edge_operator.pool_nodes import Node


def entry(places: str, tier: str = "Edge", *, alive: bool = True) -> Entry:
    """places: a letter for each stage: h here, e another edge node, t Triton."""
    slice_: dict[str, Any] = {
        "digest": "sha256:" + "ab" * 32,
        "size": 1,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}],
    }
    stages = [
        {
            "place": "somewhere",
            "runtime": "Triton" if place == "t" else "Edge",
            "slice": slice_,
            **({} if place == "h" else {"address": "http://there:8000", "model": "slice"}),
        }
        for place in places
    ]
    route = {
        "name": "r",
        "exit": "final",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": stages,
    }
    placement = Placement.model_validate(
        {
            "metadata": {"name": "s-n"},
            "spec": {
                "service": "s",
                "node": "n",
                "model": {
                    "digest": slice_["digest"],
                    "inputs": slice_["inputs"],
                    "outputs": slice_["outputs"],
                },
                "slo": {"latency": "1s"},
                "routes": [route],
            },
            "status": {"loaded": True, "activeRoute": "r"},
        }
    )
    return Entry(Node("n", {}, ready=True), placement, tier, alive=alive)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("places", "tier", "level"),
    [
        ("t", "Device", 0),
        ("ht", "Device", 1),
        ("et", "Device", 1),
        ("he", "Device", 2),
        ("e", "Device", 2),
        ("h", "Edge", 2),
        ("h", "Device", 3),
    ],
)
def test_the_level_says_how_far_inference_is_from_the_cloud(places: str, tier: str, level: int) -> None:
    assert ei_level([entry(places, tier)]) == level


def test_a_service_has_the_lowest_level_of_its_entry_nodes_that_answer() -> None:
    assert ei_level([entry("h", "Device"), entry("ht"), entry("t", alive=False)]) == 1
    assert ei_level([entry("t", alive=False)]) is None
    assert ei_level([]) is None
