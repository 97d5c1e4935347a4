"""Slices of real architectures, composed at any cut, equal the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from benchmarks.graphs.inception import inception_v3
from benchmarks.graphs.residual import mobilenet_v2
from benchmarks.graphs.small import camera_and_sensors, unet
from benchmarks.graphs.transformers import transformer
from edge_runtime.slicing import Graph
from networks import AS_WRITTEN, OPTIMIZED, Array, feeds_for, run, with_noise

NETWORKS: dict[str, Callable[[], ModelProto]] = {
    "residual": lambda: mobilenet_v2(32, 10),
    "inception": lambda: inception_v3(75, 10),
    "encoder_decoder": lambda: unet(32, 4),
    "transformer": lambda: transformer(2, 32, 4, 16),
    "two_inputs_two_outputs": lambda: camera_and_sensors(16),
}
WIDEST = 4


@cache
def _model(name: str) -> tuple[ModelProto, bytes, Graph]:
    model = NETWORKS[name]()
    data = with_noise(model)
    return model, data, Graph(data)


def _chosen(graph: Graph, output: str, count: int) -> list[tuple[str, ...]]:
    """Cuts from the input to the deepest, some of several tensors."""
    cuts = [c.tensors for c in graph.cuts([output], WIDEST)]
    picked = np.unique(np.linspace(0, len(cuts) - 1, count).round().astype(int))
    return [cuts[i] for i in picked]


def _through(graph: Graph, ends: Sequence[tuple[str, ...]], feeds: dict[str, Array], level: Any) -> Array:
    values = {name: feeds[name] for name in ends[0]}
    for start, end in pairwise(ends):
        values = run(graph.slice(start, end), {n: values[n] for n in start}, level)
    return values[ends[-1][0]]


@pytest.mark.parametrize("name", NETWORKS)
def test_slices_between_any_two_cuts_compose_to_the_whole_bit_for_bit(name: str) -> None:
    model, data, graph = _model(name)
    feeds = feeds_for(model)
    whole = run(data, feeds)
    for output in graph.outputs:
        assert np.ptp(whole[output]) > 0.01  # a constant would be equal, too
        ends = _chosen(graph, output, 7)
        assert len(ends) >= 4
        composed = _through(graph, [*ends, (output,)], feeds, AS_WRITTEN)
        assert composed.tobytes() == whole[output].tobytes()
        for cut in ends[1::2]:
            head_and_tail = _through(graph, [ends[0], cut, (output,)], feeds, AS_WRITTEN)
            assert head_and_tail.tobytes() == whole[output].tobytes(), cut


@pytest.mark.parametrize("name", NETWORKS)
def test_optimized_slices_compose_to_the_optimized_whole_within_rounding(name: str) -> None:
    model, data, graph = _model(name)
    feeds = feeds_for(model)
    whole = run(data, feeds, OPTIMIZED)
    for output in graph.outputs:
        ends = [*_chosen(graph, output, 4), (output,)]
        composed = _through(graph, ends, feeds, OPTIMIZED)
        np.testing.assert_allclose(composed, whole[output], rtol=1e-3, atol=1e-4 * np.ptp(whole[output]))


def test_an_encoder_decoder_is_cut_across_its_skips_only_by_several_tensors() -> None:
    graph = _model("encoder_decoder")[2]
    alone, together = graph.cuts(["mask"]), graph.cuts(["mask"], WIDEST)
    assert max(len(c.tensors) for c in together) == WIDEST
    assert {c.tensors for c in alone} < {c.tensors for c in together}
    bottleneck = next(c for c in together if len(c.tensors) == WIDEST)
    assert bottleneck.bytes == sum(graph.tensor(n).item_bytes() for n in bottleneck.tensors)


def test_a_model_with_two_inputs_is_cut_first_at_both_and_later_where_they_are_joined() -> None:
    cuts = _model("two_inputs_two_outputs")[2].cuts(["label"])
    assert cuts[0].tensors == ("picture", "readings")
    assert cuts[0].bytes == 4 * (3 * 16 * 16 + 12)
    assert "shared" in {c.tensor for c in cuts}
    beside = [c for c in cuts[1:] if len(c.tensors) > 1]
    assert beside
    assert all(c.tensors[0] == "readings" and c.bytes < cuts[0].bytes for c in beside)


def test_both_outputs_of_a_model_come_from_one_slice() -> None:
    model, data, graph = _model("two_inputs_two_outputs")
    feeds = feeds_for(model)
    whole = run(data, feeds)
    shared = run(graph.slice(["picture", "readings"], ["shared"]), feeds)
    both = run(graph.slice(["shared"], ["box", "label"]), shared)
    assert {name: value.tobytes() for name, value in both.items()} == {
        name: value.tobytes() for name, value in whole.items()
    }


def test_a_tensor_of_both_cuts_is_passed_on() -> None:
    model, _, graph = _model("encoder_decoder")
    cuts = [c.tensors for c in graph.cuts(["mask"], WIDEST)]
    start, end = next((a, b) for a, b in pairwise(cuts) if set(a) & set(b))
    values = run(graph.slice(cuts[0], start), feeds_for(model))
    passed = run(graph.slice(start, end), values)
    for name in set(start) & set(end):
        assert passed[name].tobytes() == values[name].tobytes()
