"""Of many entry nodes, a status shows the worst hundred and counts all."""

from dataclasses import replace

from edge_api import Placement
from edge_operator.pool.entries import MOST_SHOWN, Entry, counts, shown
from edge_operator.pool_nodes import Node

TENSOR = {"name": "x", "datatype": "FP32", "shape": [1]}
SLICE = {"digest": "sha256:" + "ab" * 32, "size": 1, "inputs": [TENSOR], "outputs": [TENSOR]}


def entry(name: str, attainment: str | None = None) -> Entry:
    """An entry node that serves by its published route. attainment: that its runtime reports."""
    stage = {"place": name, "runtime": "Edge", "slice": SLICE}
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": [stage],
    }
    status = {"loaded": True, "activeRoute": "final@local", "attainment": attainment}
    spec = {
        "service": "s",
        "node": name,
        "model": {"digest": SLICE["digest"], "inputs": [TENSOR], "outputs": [TENSOR]},
        "slo": {"latency": "1s"},
        "routes": [route],
    }
    body = {"metadata": {"name": f"s.{name}"}, "spec": spec, "status": status}
    return Entry(Node(name, {}, ready=True), Placement.model_validate(body))


def test_all_are_shown_up_to_a_hundred() -> None:
    entries = [entry(f"n-{number:03}", "0.5") for number in range(MOST_SHOWN)]
    assert [each.node for each in shown(entries)] == [each.node.name for each in entries]
    assert MOST_SHOWN == 100


def test_those_that_do_not_answer_come_before_degraded_ones_and_those_before_missed_objectives() -> None:
    met = [entry(f"met-{number:03}", "1") for number in range(MOST_SHOWN - 2)]
    missed = entry("missed", "0.4")
    quiet = entry("quiet")
    degraded = replace(entry("degraded", "1"), infeasible="no route is fast enough")
    dead = replace(entry("dead", "1"), alive=False)
    found = [each.node for each in shown([*met, quiet, missed, degraded, dead])]
    assert len(found) == MOST_SHOWN
    assert found[-3:] == ["missed", "degraded", "dead"], "in the order of the entry nodes"
    assert found[:-3] == [each.node.name for each in met[: MOST_SHOWN - 3]]
    worst = [replace(degraded, node=Node(f"d-{n:03}", {}, ready=True)) for n in range(MOST_SHOWN - 1)]
    assert {each.node for each in shown([missed, *worst, dead])} == {
        *(each.node.name for each in worst),
        "dead",
    }


def test_the_counts_are_of_all_entry_nodes() -> None:
    entries = [entry(f"n-{number:03}", "1") for number in range(300)]
    entries[7] = replace(entries[7], alive=False)
    entries[8] = replace(entries[8], node=replace(entries[8].node, ready=False))
    entries[9] = replace(entries[9], infeasible="no route is fast enough")
    found = counts(entries)
    assert (found.total, found.ready, found.degraded, found.away) == (300, 298, 1, 1)
    assert len(shown(entries)) == MOST_SHOWN
