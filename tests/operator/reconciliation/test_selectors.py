"""Label selectors with expressions choose nodes, and profiling Jobs tolerate their taints."""

from typing import Any

import pytest

from edge_api.selectors import SelectsNodes
from edge_operator.pool_nodes import Node, selector_text, selects

World = Any  # tests/operator/conftest.py
TAINT = {"key": "dedicated", "operator": "Equal", "value": "cameras", "effect": "NoSchedule"}


def expression(operator: str, *values: str) -> dict[str, Any]:
    return {"key": "hall", "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "chosen", "text"),
    [
        ({"matchLabels": {"hall": "a"}}, {"in-a"}, "hall=a"),
        ({"matchExpressions": [expression("In", "a", "b")]}, {"in-a", "in-b"}, "hall in (a,b)"),
        ({"matchExpressions": [expression("NotIn", "a")]}, {"in-b", "outside"}, "hall notin (a)"),
        ({"matchExpressions": [expression("Exists")]}, {"in-a", "in-b"}, "hall"),
        ({"matchExpressions": [expression("DoesNotExist")]}, {"outside"}, "!hall"),
        (
            {"matchExpressions": [expression("Exists"), expression("NotIn", "a")]},
            {"in-b"},
            "hall,hall notin (a)",
        ),
    ],
)
def test_an_expressionselects_as_kubernetes_label_selectors_do(
    selector: dict[str, Any], chosen: set[str], text: str
) -> None:
    nodes = [
        Node("in-a", {"hall": "a"}, ready=True),
        Node("in-b", {"hall": "b"}, ready=True),
        Node("outside", {}, ready=True),
    ]
    part = SelectsNodes.model_validate({"selector": selector})
    assert {node.name for node in nodes if selects(part, node)} == chosen
    assert selector_text(part) == text


def test_a_node_must_match_both_the_node_selector_and_the_selector() -> None:
    part = SelectsNodes.model_validate(
        {"nodeSelector": {"hall": "a"}, "selector": {"matchLabels": {"x": "y"}}}
    )
    assert not selects(part, Node("one", {"hall": "a"}, ready=True))
    assert selects(part, Node("two", {"hall": "a", "x": "y"}, ready=True))


def test_entry_nodes_are_chosen_by_an_expression(world: World) -> None:
    world.change(
        entryNodes={
            "selector": {"matchExpressions": [{"key": "class", "operator": "NotIn", "values": ["gateway"]}]}
        }
    )
    world.settle()
    assert sorted(world.placements()) == ["cam-1", "cam-2"]


def test_a_profiling_job_tolerates_the_taints_of_its_node(world: World) -> None:
    world.store.profiles.clear()
    pool = world.pool()
    pool["spec"]["nodes"][1]["tolerations"] = [TAINT]
    world.cluster.put(pool)
    world.reconcile()
    tolerated = {
        job["metadata"]["labels"]["edge-intelligence.io/node"]: job["spec"]["template"]["spec"].get(
            "tolerations"
        )
        for job in world.jobs()
    }
    assert tolerated["cam-1"] == [TAINT]
    assert [found for node, found in tolerated.items() if node != "cam-1"] == [None] * (len(tolerated) - 1)
