"""Operators that cannot be planned are named and become one layer without cuts."""

from collections.abc import Callable, Sequence

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_planning.errors import BadValueError
from edge_planning.graphs import Graph
from edge_planning.graphs.cuts import chain_cuts
from edge_planning.graphs.onnx_reading import read_graph, read_model
from edge_planning.graphs.regions import merged
from messages import mentions

Write = Callable[..., ModelProto]
Case = tuple[int, list[tuple[int, int]], list[list[int]]]


def kinds(graph: Graph) -> dict[str, str]:
    return {layer.name: layer.kind for layer in graph.layers}


def test_an_unknown_operator_with_a_known_shape_is_one_opaque_layer(write: Write) -> None:
    model = write(
        [("Relu", "x", "a"), ("mine.Magic", "a w", "b"), ("Exp", "b", "y")],
        {"x": ("n", 4)},
        {"y": ("n", 8)},
        weights={"w": np.zeros((4, 8), np.float32)},
        shapes={"b": ("n", 8)},
    )
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"a": "relu", "b": "opaque", "y": "exp"}
    (warning,) = graph.warnings
    assert warning.startswith("b ")
    assert "Magic of domain mine" in warning
    opaque = graph.layers[1]
    assert (opaque.inputs, opaque.outputs, opaque.flops, opaque.parameters) == (("a",), ("b",), 0, 128)
    assert chain_cuts(graph, "y") == (("x",), ("a",), ("b",))


def test_an_operator_that_onnx_does_not_have_takes_what_depends_on_its_shape_with_it(write: Write) -> None:
    model = write(
        [
            ("Relu", "x", "a"),
            ("Magic", "a", "b"),
            ("Exp", "b", "c"),
            ("Log", "c", "d"),
            ("Exp", "e", "y"),
            ("Add", "a d", "e"),
        ],
        {"x": ("n", 4)},
        {"y": ("n", 4)},
        shapes={"e": ("n", 4)},
    )
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"a": "relu", "b..e": "opaque", "y": "exp"}
    (warning,) = graph.warnings
    assert warning.startswith("b, c, d and 1 more ")
    assert "Magic of domain ai.onnx" in warning
    # The known part is counted: one operation for each of the four elements of the addition.
    assert graph.layers[1].flops == 4


def test_control_flow_is_opaque_and_its_weights_and_captures_count(write: Write) -> None:
    graph = read_graph(conditional(write), name="m")
    assert kinds(graph) == {"a": "relu", "b": "relu", "choice": "opaque", "y": "exp"}
    choice = next(layer for layer in graph.layers if layer.name == "choice")
    assert choice.inputs == ("yes", "a", "b")
    assert choice.parameters == 4 * 4 * 4
    (warning,) = graph.warnings
    assert warning.startswith("choice ")
    assert "If is control flow" in warning
    assert chain_cuts(graph, "y") == (("x", "yes"), ("choice",))


def conditional(write: Write) -> ModelProto:
    """y = exp(relu(x) @ w if yes else relu(x))."""
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 4))
    weight = numpy_helper.from_array(np.zeros((4, 4), np.float32), "w")
    bodies = {
        "then_branch": helper.make_graph(
            [helper.make_node("MatMul", ["a", "w"], ["out"])], "then", [], [value], [weight]
        ),
        "else_branch": helper.make_graph([helper.make_node("Relu", ["b"], ["out"])], "else", [], [value]),
    }
    nodes = [("Relu", "x", "a"), ("Relu", "a", "b"), ("If", "yes", "choice", bodies), ("Exp", "choice", "y")]
    model = write(nodes, {"x": (1, 4)}, {"y": (1, 4)}, shapes={"choice": (1, 4)})
    model.graph.input.append(helper.make_tensor_value_info("yes", TensorProto.BOOL, ()))
    return model


def test_a_dimension_without_a_bound_is_named_and_counted_as_one(write: Write) -> None:
    model = write(
        [("Relu", "x", "a"), ("Exp", "a", "b"), ("ReduceSum", "b axes", "c"), ("Log", "c", "y")],
        {"x": ("n", "sequence", 4)},
        {"y": ("n", 4)},
        weights={"axes": np.array([1])},
        shapes={"c": ("n", 1, 4)},
    )
    model.graph.node[2].attribute.append(helper.make_attribute("keepdims", 1))
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"a..c": "opaque", "y": "log"}
    assert graph.tensors["x"].shape == (1, 1, 4)
    (warning,) = graph.warnings
    assert warning.startswith("a, b, c ")
    assert "x, [1, ?, 4]" in warning
    assert graph.unsized == ("x", "a", "b")
    assert chain_cuts(graph, "y") == (("x",), ("c",))
    bounded = read_graph(model, name="m", bounds={"sequence": 9})
    assert bounded.warnings == bounded.unsized == ()
    assert len(bounded.layers) == 4


def test_a_size_that_depends_on_values_is_opaque_up_to_where_it_is_known_again(write: Write) -> None:
    model = write(
        [
            ("Relu", "x", "a"),
            ("NonZero", "a", "places"),
            ("Cast", "places", "real", {"to": TensorProto.FLOAT}),
            ("ReduceSum", "real", "count", {"keepdims": 0}),
            ("Mul", "a count", "y"),
        ],
        {"x": (1, 4)},
        {"y": (1, 4)},
    )
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"a": "relu", "places..count": "opaque", "y": "mul"}
    assert graph.layers[1].outputs == ("count",)
    assert graph.tensors["count"].size == 4


def test_what_lies_between_two_parts_of_a_region_joins_it(write: Write) -> None:
    # b's size is open and read twice: by c, and by e, which also reads d, computed from c.
    model = write(
        [
            ("mine.Open", "x", "b"),
            ("ReduceSum", "b", "c", {"keepdims": 1}),
            ("Exp", "c", "d"),
            ("mine.Close", "b d", "e"),
            ("Exp", "e", "y"),
        ],
        {"x": (1, 4)},
        {"y": (1, 4)},
        shapes={"b": (1, "k"), "e": (1, 4)},
    )
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"b..e": "opaque", "y": "exp"}


def test_wrong_attributes_are_named_and_not_a_crash(write: Write) -> None:
    model = write(
        [("MaxPool", "x", "p"), ("Relu", "p", "y")], {"x": (1, 4)}, {"y": (1, 4)}, shapes={"p": (1, 4)}
    )
    model.graph.node.append(helper.make_node("Einsum", ["x"], ["z"], "z", equation="abc->a"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1,)))
    graph = read_graph(model, name="m")
    assert kinds(graph)["z"] == "opaque"
    assert any(warning.startswith("z ") and "Einsum" in warning for warning in graph.warnings)


def test_text_can_be_read_but_not_sized(write: Write) -> None:
    model = write([("StringNormalizer", "x", "y")], {"x": (1,)}, {"y": (1,)})
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.STRING
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"y": "opaque"}
    assert mentions("x", "width").search(graph.warnings[0])
    with pytest.raises(BadValueError, match=r"input x .*fixed width"):
        read_model(model, name="m")


@pytest.mark.parametrize("operator", ["Scan", "SequenceMap"])
def test_a_loop_over_slices_is_opaque(write: Write, operator: str) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 4)) for name in "io"]
    body = helper.make_graph([helper.make_node("Relu", ["i"], ["o"])], "body", values[:1], values[1:])
    nodes = [(operator, "x", "y", {"body": body}), ("Exp", "y", "z")]
    model = write(nodes, {"x": (2, 4)}, {"z": (2, 4)}, shapes={"y": (2, 4)})
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"y": "opaque", "z": "exp"}
    assert f"{operator} is control flow" in graph.warnings[0]


def test_a_loop_is_opaque(write: Write) -> None:
    state = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 4)) for name in ("before", "after")]
    count = helper.make_tensor_value_info("count", TensorProto.INT64, ())
    go, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("go", "on"))
    steps = [helper.make_node("Relu", ["before"], ["after"]), helper.make_node("Identity", ["go"], ["on"])]
    body = helper.make_graph(steps, "body", [count, go, state[0]], [on, state[1]])
    nodes = [("Relu", "x", "a"), ("Loop", "trips yes a", "b", {"body": body}), ("Exp", "b", "y")]
    weights = {"trips": np.array(7), "yes": np.array(True)}
    model = write(nodes, {"x": (2, 4)}, {"y": (2, 4)}, weights=weights, shapes={"b": (2, 4)})
    graph = read_graph(model, name="m")
    assert kinds(graph) == {"a": "relu", "b": "opaque", "y": "exp"}
    (warning,) = graph.warnings
    assert warning.startswith("b ")
    assert "Loop is control flow" in warning


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_opaque_the_graph_stays_acyclic_and_says_why(write: Write, data: st.DataObject) -> None:
    tensors, stated = ["x"], {}
    nodes = []
    for number in range(data.draw(st.integers(1, 12))):
        known = st.sampled_from(tensors[-data.draw(st.integers(1, len(tensors))) :])
        made = f"t{number}"
        operator = data.draw(st.sampled_from(["Relu", "Add", "Add", "mine.Shaped", "mine.Unshaped"]))
        reads = [data.draw(known) for _ in range(1 if operator == "Relu" else 2)]
        if operator == "mine.Shaped":
            stated[made] = (1, 4)
        nodes.append((operator, " ".join(reads), made))
        tensors.append(made)
    graph = read_graph(write(nodes, {"x": (1, 4)}, {tensors[-1]: (1, 4)}, shapes=stated), name="m")
    known_so_far = set(graph.inputs)
    for layer in graph.layers:
        assert known_so_far.issuperset(layer.inputs)
        known_so_far.update(layer.outputs)
    assert {graph.tensors[name].shape for name in graph.tensors} == {(1, 4)}
    opaque = [layer for layer in graph.layers if layer.kind == "opaque"]
    assert len(graph.warnings) == len(opaque)
    assert all("of domain mine" in warning for warning in graph.warnings)
    # Only layers on the path to the output are counted: one operation for each of four elements.
    way = paths_of(nodes, tensors[-1])
    assert sum(layer.flops for layer in graph.layers) <= 4 * sum("." not in nodes[n][0] for n in way)
    assert sum(layer.kind != "opaque" for layer in graph.layers) <= len(way)


def paths_of(nodes: Sequence[tuple[str, str, str]], output: str) -> set[int]:
    """Indices of the nodes on the path to the output."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node(output)
    for _, reads, made in nodes:
        graph.add_edges_from((name, made) for name in reads.split())
    behind = nx.ancestors(graph, output) | {output}
    return {number for number, (_, _, made) in enumerate(nodes) if made in behind}


# --- merging ---


@st.composite
def merges(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 10))
    nodes = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(nodes, nodes), max_size=20))
    edges = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    together = draw(st.lists(st.lists(nodes, min_size=1, max_size=3, unique=True), max_size=3))
    return count, edges, together


def merged_step_by_step(
    count: int, edges: Sequence[tuple[int, int]], together: Sequence[Sequence[int]]
) -> set[frozenset[int]]:
    """Joins nodes that must be together, then each cycle, until there is none."""
    group = list(range(count))

    def join(nodes: Sequence[int]) -> None:
        numbers = {group[node] for node in nodes}
        group[:] = [min(numbers) if g in numbers else g for g in group]

    for nodes in together:
        join(nodes)
    while True:
        quotient = nx.DiGraph((group[a], group[b]) for a, b in edges if group[a] != group[b])
        try:
            cycle = nx.find_cycle(quotient)
        except nx.NetworkXNoCycle:
            return {frozenset(n for n in range(count) if group[n] == g) for g in group}
        join([source for source, _ in cycle])


@settings(max_examples=200)
@given(merges())
def test_merging_joins_as_little_as_leaves_no_cycle(case: Case) -> None:
    groups = merged(*case)
    found = {frozenset(n for n, other in enumerate(groups) if other == group) for group in groups}
    assert found == merged_step_by_step(*case)
