"""Plots are drawn with the expected content, and have the same bytes each time."""

import xml.etree.ElementTree as ET

from edge_planning_lab.baselines import AtMeasured, edgent
from edge_planning_lab.simulation import Bandwidth, constant, simulate
from edge_planning_lab.simulation.plots import comparison, timeline

from .conftest import make_scenario


def test_a_timeline_names_the_policy_its_choices_and_the_outcomes_and_is_deterministic() -> None:
    link = Bandwidth((0.0, 10.0), (4e6, 1e4), period=20.0)
    run = simulate(make_scenario(AtMeasured("edgent", edgent), constant(1.0, 30.0).tolist(), bandwidth=link))
    first, second = timeline(run), timeline(run)
    assert first == second
    words = "".join(ET.fromstring(first).itertext())
    for expected in ("edgent, 500 ms", "full@input", "small@local", "in time", "given up", "Mbit/s"):
        assert expected in words


def test_a_comparison_has_a_line_for_each_policy() -> None:
    figures = {
        100.0: {"ours": (0.9, 0.7), "oracle": (1.0, 0.8)},
        200.0: {"ours": (1.0, 0.8), "oracle": (1.0, 0.8)},
    }
    first = comparison(figures, ["ours", "oracle"])
    assert first == comparison(figures, ["ours", "oracle"])
    words = "".join(ET.fromstring(first).itertext())
    assert "ours" in words
    assert "oracle" in words
    assert "missed, %" in words
