"""Random graphs: accepted cuts compose to the whole, rejected ones do not separate."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.slicing import Graph
from networks import run

FEEDS = {n: np.random.default_rng(i).normal(size=(2, 3)).astype(np.float32) for i, n in enumerate("ab")}
ONE, TWO = ("Tanh", "Sin", "Neg"), ("Add", "Mul", "Max")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to a dozen operators on one or two earlier tensors, from two inputs to one output."""
    made = ["a", "b"]
    nodes = [helper.make_node("Add", ["a", "b"], ["t0"])] if draw(st.booleans()) else []
    made += [o for n in nodes for o in n.output]
    for i in range(1, draw(st.integers(2, 12))):
        count = draw(st.integers(1, 2))
        inputs = [draw(st.sampled_from(made[-5:])) for _ in range(count)]
        kind = draw(st.sampled_from(ONE if count == 1 else TWO))
        nodes.append(helper.make_node(kind, inputs, [f"t{i}"]))
        made.append(f"t{i}")
    inputs_ = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "ab"]
    output = helper.make_tensor_value_info(made[-1], TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "drawn", inputs_, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Graph(model.SerializeToString())


def _reaches(graph: Graph, output: str, without: set[str]) -> bool:
    """Whether an input reaches the output on a path that avoids some tensors."""
    made_from = {o: n.input for n in graph.model.graph.node for o in n.output}
    todo, seen = [output], set(without)
    while todo:
        name = todo.pop()
        if name not in seen:
            if name in graph.inputs:
                return True
            seen.add(name)
            todo.extend(made_from[name])
    return False


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_any_set_of_tensors_is_a_cut_exactly_when_it_separates(graph: Graph, data: st.DataObject) -> None:
    output = graph.outputs[0]
    tensors = [o for n in graph.model.graph.node for o in n.output if o != output] + list(graph.inputs)
    cut = data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=4, unique=True))
    try:
        tail = graph.slice(cut, [output])
    except UnknownTensor:
        assert _reaches(graph, output, set(cut))
        return
    except BadRequest as error:
        assert "is not needed to compute" in str(error)  # noqa: PT017
        return
    assert not _reaches(graph, output, set(cut))
    values = {name: FEEDS[name] for name in cut if name in FEEDS}
    inner = [name for name in cut if name not in FEEDS]
    if inner:
        sources = graph.needed_inputs(inner)
        values |= run(graph.slice(sources, inner), {name: FEEDS[name] for name in sources})
    whole = graph.needed_inputs([output])
    expected = run(graph.slice(whole, [output]), {name: FEEDS[name] for name in whole})[output]
    assert run(tail, values)[output].tobytes() == expected.tobytes()


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 3))
def test_every_listed_cut_separates_and_is_within_the_width_limit(graph: Graph, most: int) -> None:
    output = graph.outputs[0]
    cuts = graph.cuts([output], most)
    assert cuts[0].tensors == graph.needed_inputs([output])
    for i, cut in enumerate(cuts):
        assert i == 0 or len(cut.tensors) <= most
        assert not _reaches(graph, output, set(cut.tensors))
        assert cut.bytes == 12 * len(cut.tensors)
        graph.slice(cut.tensors, [output])
