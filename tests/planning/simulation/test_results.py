"""Summaries of a run: shares, switches, fairness."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning_lab.baselines import AtMeasured, Fixed, edgent
from edge_planning_lab.simulation import (
    Bandwidth,
    Scenario,
    SimulatedServer,
    Stream,
    Uplink,
    by_service,
    constant,
    fairness,
    poisson,
    simulate,
    summary,
    table,
)
from edge_planning_lab.simulation.results import jain, tenants

from .conftest import make_options, make_scenario


def test_accuracy_is_of_the_answers_in_time_and_utility_counts_the_late_ones_as_nothing() -> None:
    run = simulate(make_scenario("small@local", [0.0, 0.01, 0.02, 0.03]))
    found = summary(run.records)
    assert (found.requests, found.attainment, found.accuracy) == (4, 0.5, 0.6)
    assert found.utility == pytest.approx(0.3)
    assert [found.p50, found.p95] == pytest.approx([0.295, 0.3805])


def test_a_switch_is_counted_when_the_decision_changes_not_when_the_fallback_answers() -> None:
    link = Bandwidth((0.0, 10.0, 20.0), (4e6, 1e4, 4e6), period=40.0)
    policy = AtMeasured("edgent", edgent)
    run = simulate(make_scenario(policy, constant(1.0, 30.0, 0.5).tolist(), bandwidth=link))
    names = [make_options().names[i] for i in run.records.choice]
    assert names[:10] == ["full@input"] * 10
    assert names[12:21] == ["small@local"] * 9
    assert summary(run.records).switches == 2


def test_switches_are_not_counted_from_one_stream_to_the_next() -> None:
    one = make_scenario("small@local", [0.0])
    other = replace(one.streams[0], service="o", policy=Fixed("x", 4))
    assert summary(simulate(replace(one, streams=[*one.streams, other])).records).switches == 0


def two_tenants(weights: dict[str, float]) -> Scenario:
    """Tenant a's requests have accuracy 0.6, b's 0.9, each at a separate node."""
    options = make_options(deadline=1.0)
    link = [Uplink("up", Bandwidth.constant(1e6))]
    streams = [
        Stream("s", "a", "n1", "up", "triton", options, Fixed("small", 0), np.array([0.0, 5.0])),
        Stream("s", "b", "n2", "up", "triton", options, Fixed("full", 3), np.array([1.0])),
    ]
    return Scenario(link, [SimulatedServer("triton")], streams, 100.0, weights)


def test_tenants_levels_and_jains_index_are_those_of_the_formula() -> None:
    run = simulate(two_tenants({}))
    found = fairness(run)
    assert dict(found.levels) == pytest.approx({"a": 0.6, "b": 0.9})
    assert found.jain == pytest.approx(1.5**2 / (2 * (0.36 + 0.81)))
    assert found.least == pytest.approx(0.6)
    assert tenants(found).split() == ["a", "0.6000", "b", "0.9000", "Jain's", "index", "0.9615"]
    assert by_service(run)["s@n1"].accuracy == pytest.approx(0.6)


def test_levels_are_per_weight_and_a_common_factor_of_the_weights_changes_nothing() -> None:
    found = fairness(simulate(two_tenants({"a": 2.0, "b": 3.0})))
    assert dict(found.levels) == pytest.approx({"a": 0.75, "b": 0.75})
    assert (found.jain, found.least) == pytest.approx((1.0, 0.75))
    more = fairness(simulate(two_tenants({"a": 20.0, "b": 30.0})))
    assert dict(more.levels) == pytest.approx(dict(found.levels))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_jains_index_lies_between_one_nth_and_one(levels: list[float]) -> None:
    assert 1 / len(levels) - 1e-9 <= jain(np.array(levels)) <= 1 + 1e-9


def test_the_table_has_a_row_for_each_and_aligned_columns() -> None:
    run = simulate(make_scenario("full@input", [0.0, 1.0]))
    none = simulate(make_scenario("small@local", []))
    lines = table({"cloud": summary(run.records), "none": summary(none.records)}).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert " ".join(lines[1].split()) == "cloud 2 1.0000 0.9000 0.9000 0 0.025 0.00 0 150.0 150.0"
    assert lines[2].split()[-1] == "-"


def test_arrivals_are_as_many_as_asked_for() -> None:
    assert constant(2.0, 2.0, 0.25).tolist() == [0.25, 0.75, 1.25, 1.75]
    moments = poisson(np.random.default_rng(3), 5.0, 10_000.0)
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(50_000, rel=0.02)
    assert float(gaps.std() / gaps.mean()) == pytest.approx(1.0, abs=0.02)
    again = poisson(np.random.default_rng(3), 5.0, 10_000.0)
    assert again.tolist() == moments.tolist()
