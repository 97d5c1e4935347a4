"""A model of two exits whose results can be checked by hand.

Entry node: trunk 40 ms, early branch 10 ms, rest 150 ms. Cloud: a tenth of that. Input 100 kB, cut 10 kB.
"""

from dataclasses import replace

import pytest

from edge_planning import (
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Infeasible,
    Load,
    Mode,
    Model,
    Plan,
    Slo,
    Tables,
    Timing,
    plan_entry,
    rejected,
)
from messages import mentions

INPUT, CUT = Cut("image", 100_000), Cut("pool", 10_000)
MODEL = Model(
    "digits", (Exit("early", "early_logits", 0.9, (INPUT, CUT)), Exit("full", "logits", 0.98, (INPUT, CUT)))
)
COSTS = {("image", "pool"): 0.04, ("pool", "early_logits"): 0.01, ("pool", "logits"): 0.15}


def profile(name: str, factor: float, spread: float = 1.0) -> ClassProfile:
    return ClassProfile(
        name, {pair: Timing(cost * factor, cost * factor * spread) for pair, cost in COSTS.items()}
    )


PROBLEM = EntryProblem(
    MODEL,
    profile("camera", 1.0),
    profile("cloud", 0.1),
    rtt=0.001,
    slo=Slo(0.1),
    node="edge-b",
    tables=Tables(safety=1.0),
)


def planned(problem: EntryProblem) -> Plan:
    plan = plan_entry(problem)
    assert isinstance(plan, Plan), plan
    return plan


def names(problem: EntryProblem) -> list[tuple[str, int]]:
    return [(route.name, route.min_bandwidth) for route in planned(problem).table.routes]


def test_auto_cuts_where_the_full_model_comes_back_in_time_and_else_leaves_early() -> None:
    # full@pool: 40 + 15 + 1 = 56 ms and 80 kbit: in time from 80 kbit / 44 ms = 1.818 Mbit/s.
    # full@image: 4 + 15 + 1 = 20 ms and 800 kbit: faster than full@pool from 720 kbit / 36 ms = 20 Mbit/s.
    assert names(PROBLEM) == [("full@image", 20_000_000), ("full@pool", 1_818_182), ("early@local", 0)]


def test_safety_moves_every_change_of_route_up() -> None:
    cautious = replace(PROBLEM, tables=Tables(safety=1.15))
    assert names(cautious) == [("full@image", 23_000_000), ("full@pool", 2_090_910), ("early@local", 0)]


def test_a_route_says_what_it_predicts_at_its_lowest_bandwidth() -> None:
    route = planned(PROBLEM).table.routes[1]
    assert route.latency == pytest.approx(0.1, rel=1e-6)
    assert route.head == pytest.approx(0.04)
    assert route.tail == pytest.approx(0.015)
    assert route.bits == 80_000
    assert route.met_from == pytest.approx(80_000 / 0.044)


def test_a_table_of_two_keeps_the_cut_that_reaches_furthest_down() -> None:
    assert names(replace(PROBLEM, tables=Tables(routes=2, safety=1.0))) == [
        ("full@pool", 1_818_182),
        ("early@local", 0),
    ]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.LOCAL_ONLY, [("full@local", 0)]),
        (Mode.CLOUD_ONLY, [("full@image", 0)]),
        # full@pool is faster than the 190 ms of full@local from 80 kbit / 134 ms.
        (Mode.PARTITION_ONLY, [("full@image", 20_000_000), ("full@pool", 597_015), ("full@local", 0)]),
        (Mode.RIGHT_SIZING_ONLY, [("early@local", 0)]),
    ],
)
def test_the_modes_of_edgents_comparison(mode: Mode, expected: list[tuple[str, int]]) -> None:
    assert names(replace(PROBLEM, mode=mode)) == expected


def test_right_sizing_takes_the_full_model_when_there_is_time() -> None:
    assert names(replace(PROBLEM, mode=Mode.RIGHT_SIZING_ONLY, slo=Slo(0.2))) == [
        ("full@local", 0),
        ("early@local", 0),
    ]


def test_without_a_triton_server_everything_is_local() -> None:
    assert names(replace(PROBLEM, remote=None)) == [("early@local", 0)]
    refused = plan_entry(replace(PROBLEM, remote=None, mode=Mode.CLOUD_ONLY))
    assert isinstance(refused, Infeasible)
    assert mentions("mode CloudOnly", "Triton", "edge-b").search(refused.reasons[0])


def test_below_the_slos_bandwidth_the_fastest_route_is_used_and_the_plan_reports_it() -> None:
    tight = planned(replace(PROBLEM, slo=Slo(0.04)))
    # full@image: 800 kbit / 20 ms = 40 Mbit/s; early@image: 6 ms, 800 kbit / 34 ms = 23.5 Mbit/s, and faster
    # than early@local (50 ms) from 800 kbit / 44 ms = 18.2 Mbit/s.
    assert [(r.name, r.min_bandwidth) for r in tight.table.routes] == [
        ("full@image", 40_000_000),
        ("early@image", 18_181_819),
        ("early@local", 0),
    ]
    assert tight.met
    assert tight.met_from == pytest.approx(800_000 / 0.034)
    (limit,) = tight.reasons
    assert mentions("40ms", "24 Mbit/s", "early@local", "50ms").search(limit)


def test_if_no_route_meets_the_slo_the_fastest_is_used_and_the_plan_reports_it() -> None:
    hopeless = planned(replace(PROBLEM, slo=Slo(0.005)))
    assert not hopeless.met
    assert hopeless.met_from is None
    assert hopeless.nearest_slo == pytest.approx(0.0068)
    assert hopeless.table.routes[0].name == "early@image"
    assert all(part in hopeless.reasons[0] for part in ("5ms", "edge-b", "1 Gbit/s", "early@image at 6.8ms"))


def test_a_lowest_accuracy_turns_late_responses_into_no_plan() -> None:
    refused = plan_entry(replace(PROBLEM, slo=Slo(0.02), min_accuracy=0.95))
    assert isinstance(refused, Infeasible)
    named = ("accuracy >= 0.95", "20ms", "edge-b", "1 Gbit/s", "full@image at 20.8ms")
    assert all(part in refused.reasons[0] for part in named)
    assert refused.nearest_slo == pytest.approx(0.0208)


def test_a_lowest_accuracy_that_no_exit_has_is_named_with_the_best_there_is() -> None:
    refused = plan_entry(replace(PROBLEM, min_accuracy=0.99))
    assert isinstance(refused, Infeasible)
    named = ("digits", "mode Auto", "accuracy >= 0.99", "full with 0.98", "spec.slo.minAccuracy")
    assert all(part in refused.reasons[0] for part in named)


def test_a_lowest_accuracy_keeps_the_less_accurate_exit_from_answering_even_locally() -> None:
    assert names(replace(PROBLEM, min_accuracy=0.95))[-1] == ("full@local", 0)


def test_the_limit_of_the_plan_at_the_current_bandwidth_is_reported_with_the_fix() -> None:
    short = planned(replace(PROBLEM, slo=Slo(0.02), min_accuracy=0.5, bandwidth=3e6)).reasons[-1]
    named = ("accuracy >= 0.50", "20ms", "edge-b with 3 Mbit/s", "early@local at 50ms", "58 Mbit/s is enough")
    assert all(part in short for part in named)
    away = planned(replace(PROBLEM, mode=Mode.CLOUD_ONLY, bandwidth=0.0)).reasons[-1]
    told = ("mode CloudOnly", "100ms", "edge-b without the link", "10 Mbit/s is enough")
    assert all(part in away for part in told)


def test_every_other_candidate_is_rejected_for_a_reason() -> None:
    plan = planned(PROBLEM)
    reasons = {rejection.name: rejection.reason for rejection in rejected(PROBLEM, plan)}
    assert set(reasons) == {"early@image", "early@pool", "full@local"}
    assert mentions("100ms", "8.6 Mbit/s", "full@pool", "1.9 Mbit/s", "accurate").search(
        reasons["early@image"]
    )
    assert mentions("100ms", "1.4 Mbit/s", "early@local", "always").search(reasons["early@pool"])
    assert mentions("190ms", "transfer", "100ms").search(reasons["full@local"])


def test_the_percentile_enters_by_the_spread_of_each_class() -> None:
    spread = replace(PROBLEM, entry=profile("camera", 1.0, spread=1.5), mode=Mode.LOCAL_ONLY)
    latency = {p: planned(replace(spread, slo=Slo(1.0, p))).table.routes[-1].latency for p in (50, 95, 99.0)}
    assert latency[50] == pytest.approx(0.19)
    assert latency[95] == pytest.approx(0.19 * 1.5)
    assert latency[99.0] == pytest.approx(0.19 * (1 + 0.5 * 2.3263 / 1.6449), rel=1e-4)


def test_an_exit_measured_in_one_piece_stands_for_the_local_route() -> None:
    whole = replace(PROBLEM.entry, exits={"full": Timing(0.18, 0.18)})
    local = replace(PROBLEM, entry=whole, mode=Mode.LOCAL_ONLY)
    assert planned(local).table.routes[0].latency == pytest.approx(0.18)


def test_fixed_costs_and_load_are_added() -> None:
    loaded = replace(
        PROBLEM,
        mode=Mode.PARTITION_ONLY,
        local_overhead=0.002,
        hop_overhead=0.003,
        load=Load(2.0),
        remote_load=Load(2.0),
    )
    remote, *_, local = planned(loaded).table.routes
    assert local.latency == pytest.approx(0.002 + 0.38)
    assert remote.latency == pytest.approx(0.006 + 2 * 0.019 + 800_000 / remote.min_bandwidth)


def test_the_loss_against_a_table_of_any_size_is_reported() -> None:
    assert planned(PROBLEM).table.loss == pytest.approx(0.0, abs=1e-12)
    only_local = planned(replace(PROBLEM, tables=Tables(routes=1))).table
    assert only_local.accuracy == pytest.approx(0.9)
    assert only_local.loss > 0.04
