"""The picture of the second act shows the numbers of its report."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.sharing.picture import COLORS, picture, ticks
from demo.sharing.summaries import document
from sharing_results import sharing_result

SVG = "{http://www.w3.org/2000/svg}"
COUNTS = {"full": 8 + 16 + 4 + 8 + 40 + 4, "cheaper": 100, "refused": 20}


@pytest.fixture
def drawn() -> Any:
    return ElementTree.fromstring(picture(document(sharing_result())))


def test_the_height_of_the_bars_is_the_number_of_requests(drawn: Any) -> None:
    heights = dict.fromkeys(COUNTS, 0.0)
    for bar in drawn.iter(f"{SVG}rect"):
        for name in COUNTS:
            if bar.get("fill") == COLORS[name] and bar.get("height") != "12":
                heights[name] += float(bar.get("height"))
    pixels = heights["refused"] / COUNTS["refused"]
    assert {name: height / pixels for name, height in heights.items()} == pytest.approx(COUNTS, rel=1e-3)


def test_every_phase_has_its_attainment_for_both_tenants(drawn: Any) -> None:
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert [texts.count(name) for name in ("before", "10x", "after")] == [2, 2, 2]
    assert texts.count("93.8 %") == 1  # quiet, while the other one sends too much
    assert texts.count("87.5 %") == 1
    assert "requests/s" in texts
    assert "latency (ms)" in texts
    assert "SLO 800 ms" in texts


def test_a_color_without_requests_is_not_in_the_legend(drawn: Any) -> None:
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert "refused (Overloaded)" in texts
    assert "no response" not in texts


@given(st.floats(min_value=0.01, max_value=1e5))
def test_an_axis_has_a_few_round_ticks_up_to_its_top(top: float) -> None:
    found = ticks(top)
    assert found[0] == 0
    assert 2 <= len(found) <= 6
    assert found[-1] <= top * (1 + 1e-9)
