"""Cuts against brute force: networkx computes reachability without the tensor."""

from collections.abc import Iterator
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.graphs.catalogue import build
from edge_planning import BadValueError
from edge_planning.graphs import Graph, Layer, Tensor
from edge_planning.graphs.cuts import chain_cuts, path_around, require_cut, separates
from edge_planning.graphs.onnx_reading import read_graph
from edge_planning.graphs.slices import layers_between, peak_memory, slice_layers
from messages import mentions


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 3 inputs and 14 layers with one or two outputs, which read any 1 to 3 earlier tensors."""
    inputs = tuple(f"in{n}" for n in range(draw(st.integers(1, 3))))
    sizes = st.integers(1, 50)
    tensors = {name: Tensor(name, (size,), size, size) for name in inputs for size in [draw(sizes)]}
    layers = []
    for number in range(draw(st.integers(1, 14))):
        # Mostly the latest ones: otherwise hardly any graph has a cut.
        known = list(tensors)[-draw(st.sampled_from([1, 2, 3, 20])) :]
        reads = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        makes = tuple(f"t{number}_{n}" for n in range(draw(st.sampled_from([1, 1, 1, 2]))))
        tensors |= {name: Tensor(name, (size,), size, size) for name in makes for size in [draw(sizes)]}
        parameters, made = draw(sizes), sum(tensors[name].size for name in makes)
        memory = parameters + made + sum(tensors[name].size for name in reads)
        layers.append(Layer(f"l{number}", "any", tuple(reads), makes, 1.0, parameters, made, memory))
    return Graph("random", inputs, (layers[-1].outputs[0],), tuple(layers), tensors)


def paths(graph: Graph) -> "nx.DiGraph[object]":
    found: nx.DiGraph[object] = nx.DiGraph()
    found.add_nodes_from(graph.tensors)
    for layer in graph.layers:
        found.add_edges_from((name, layer) for name in layer.inputs)
        found.add_edges_from((layer, name) for name in layer.outputs)
    return found


def separates_by_search(graph: Graph, tensors: tuple[str, ...], output: str) -> bool:
    rest = paths(graph)
    rest.remove_nodes_from(tensors)
    return output not in rest or not any(
        name in rest and nx.has_path(rest, name, output) for name in graph.inputs
    )


def leading(graph: Graph, output: str) -> tuple[str, ...]:
    return tuple(name for name in graph.inputs if nx.has_path(paths(graph), name, output))


@settings(max_examples=150)
@given(graphs())
def test_the_cuts_are_the_tensors_without_which_nothing_reaches_the_output(graph: Graph) -> None:
    output = graph.outputs[0]
    first = leading(graph, output)
    if not first:
        with pytest.raises(BadValueError, match="depends on no input"):
            chain_cuts(graph, output)
        return
    cuts = chain_cuts(graph, output)
    assert cuts[0] == first
    assert {names[0] for names in cuts if len(names) == 1} == {
        name for name in graph.tensors if name != output and separates_by_search(graph, (name,), output)
    }
    depth = {name: number for number, name in enumerate(graph.tensors)}
    depths = [max(depth[name] for name in names) for names in cuts[1:]]
    assert depths == sorted(depths)


@settings(max_examples=150)
@given(graphs(), st.data())
def test_what_passes_beside_a_cut_completes_it_for_several_outputs(graph: Graph, data: st.DataObject) -> None:
    made = [name for layer in graph.layers for name in layer.outputs]
    outputs = tuple(data.draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)))
    if not any(leading(graph, output) for output in outputs):
        return
    for cut in chain_cuts(graph, outputs):
        head, tail = slice_layers(graph, cut, outputs)
        assert runnable(head, set(graph.inputs)) >= set(cut)
        assert runnable(tail, set(cut)) >= set(outputs)
        assert len(set(cut) - set(graph.inputs) - set(outputs)) <= 1 or cut == chain_cuts(graph, outputs)[0]


@settings(max_examples=150)
@given(graphs(), st.data())
def test_a_set_separates_exactly_when_no_path_goes_around_it(graph: Graph, data: st.DataObject) -> None:
    output = graph.outputs[0]
    some = data.draw(st.lists(st.sampled_from(list(graph.tensors)), max_size=5, unique=True))
    assert separates(graph, some, output) == separates_by_search(graph, tuple(some), output)
    path = path_around(graph, some, output)
    if path is None:
        require_cut(graph, some, output)
        return
    assert path[0] in graph.inputs
    assert path[-1] == output
    assert not set(path) & set(some)
    for source, target in pairwise(path):
        assert any(source in layer.inputs and target in layer.outputs for layer in graph.layers)
    with pytest.raises(BadValueError, match="does not separate"):
        require_cut(graph, some, output)


@settings(max_examples=100)
@given(graphs())
def test_head_and_tail_of_a_cut_of_one_tensor_are_the_way_to_the_output(graph: Graph) -> None:
    output = graph.outputs[0]
    if not leading(graph, output):
        return
    whole = {layer.name for layer in layers_between(graph, (), (output,))}
    for cut in chain_cuts(graph, output):
        head, tail = slice_layers(graph, cut, output)
        assert runnable(head, set(graph.inputs)) >= set(cut)
        assert output in runnable(tail, set(cut))
        assert {layer.name for layer in (*head, *tail)} == whole
        assert len(head) + len(tail) == len(whole)


def runnable(layers: tuple[Layer, ...], known: set[str]) -> set[str]:
    for layer in layers:
        assert known.issuperset(layer.inputs)
        known.update(layer.outputs)
    return known


@settings(max_examples=100)
@given(graphs())
def test_peak_memory_is_what_a_run_holds_at_its_fullest_moment(graph: Graph) -> None:
    wanted = graph.outputs
    layers = layers_between(graph, (), wanted)
    assert peak_memory(graph, layers, wanted) == max(held(graph, layers, wanted))


def held(graph: Graph, layers: tuple[Layer, ...], wanted: tuple[str, ...]) -> Iterator[int]:
    parameters = sum(layer.parameters for layer in layers)
    outside = {name for layer in layers for name in layer.inputs} & set(graph.inputs)
    for number, layer in enumerate(layers):
        there = outside.union(*(earlier.outputs for earlier in layers[:number]))
        needed = {name for later in layers[number:] for name in later.inputs} | set(wanted)
        alive = there & needed | set(layer.outputs)
        yield parameters + sum(graph.tensors[name].size for name in alive)


def test_a_residual_block_is_cut_only_outside_of_it() -> None:
    graph = read_graph(build("resnet50"), name="resnet50")
    cuts = [names[0] for names in chain_cuts(graph, "logits")]
    made = {layer.outputs[0]: layer for layer in graph.layers}
    # image, conv1, its relu, pool; the sum and the relu of each of 16 blocks; pool and flatten.
    assert [made[name].kind for name in cuts[1:]] == [
        *("conv", "relu", "maxpool"),
        *("add", "relu") * 16,
        *("globalaveragepool", "flatten"),
    ]


def test_an_encoder_decoder_with_skips_is_cut_only_at_its_ends() -> None:
    graph = read_graph(build("unet"), name="unet")
    cuts = [names[0] for names in chain_cuts(graph, "mask")]
    made = {layer.outputs[0]: number for number, layer in enumerate(graph.layers)}
    # Up to the first skip connection, and after the last join; none in between, for any depth.
    assert [made[name] for name in cuts[1:]] == [
        0,
        1,
        2,
        3,
        *range(len(graph.layers) - 6, len(graph.layers) - 1),
    ]


def test_a_cut_has_all_inputs_on_one_side() -> None:
    graph = read_graph(build("camera_and_sensors"), name="two")
    cuts = chain_cuts(graph, "box")
    assert cuts[0] == ("picture", "readings")
    # The readings pass beside what the picture has become where that is smaller than the picture.
    sizes = [sum(graph.tensors[name].size for name in cut) for cut in cuts if len(cut) > 1]
    assert sizes == sorted(sizes, reverse=True)
    assert len(cuts) == 5 + len(sizes) - 1
    assert not separates(graph, ["picture"], "box")
    with pytest.raises(BadValueError, match=r"picture .* readings -> gemm_"):
        slice_layers(graph, ["picture"], "box")
    head, tail = slice_layers(graph, cuts[0], "box")
    assert head == ()
    # The softmax and the fully connected layer of the other output are not on the path.
    assert len(tail) == len(graph.layers) - 2


def test_a_tensor_that_is_not_there_is_named() -> None:
    graph = read_graph(build("unet"), name="unet")
    with pytest.raises(BadValueError, match=mentions("graph unet:", "nowhere")):
        separates(graph, ["nowhere"], "mask")
    with pytest.raises(BadValueError, match=mentions("graph unet:", "nowhere")):
        chain_cuts(graph, "nowhere")
