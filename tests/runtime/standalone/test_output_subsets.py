"""Early exits of a file are computed without the later ones once they have been requested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import TrialCrashed
from edge_runtime.inference.output_subsets import OutputSubsets
from edge_runtime.inference.sessions import Session
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.slicing import Graph
from edge_runtime.standalone import StandaloneModel, subset_admission
from edge_runtime.tensors import Tensor
from edge_runtime.trials.admission import Trials
from misbehaving import crashing


@pytest.fixture
def path(tmp_path: Path, chain_model: bytes) -> Path:
    file = tmp_path / "chain.onnx"
    file.write_bytes(chain_model)
    return file


@pytest.fixture
def maker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def _trusted(data: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Admits every subset."""


def _made(subsets: OutputSubsets, output: str, maker: ThreadPoolExecutor) -> Session:
    """The session after all subsets that were requested are prepared."""
    maker.submit(lambda: None).result(60)
    return subsets.session([output])


async def test_an_exit_is_answered_by_the_whole_and_then_by_its_part(
    path: Path, maker: ThreadPoolExecutor
) -> None:
    whole = Session(path)
    subsets = OutputSubsets(path, whole, 1, _trusted, maker)
    model = StandaloneModel(whole, Metrics("m"), subsets=subsets)
    early, last = whole.outputs[0].name, whole.outputs[-1].name
    image = np.random.default_rng(1).random((2, 1, 16, 16), np.float32)
    feeds = {whole.inputs[0].name: image}
    expected = whole.run(feeds)

    assert subsets.session([early]) is whole
    part = _made(subsets, early, maker)
    assert part is not whole
    assert [t.name for t in part.outputs] == [early]
    assert part.size < whole.size
    assert part.proven == whole.proven

    response = await model.infer(InferenceRequest(feeds, [early]))
    np.testing.assert_allclose(response.outputs[0], expected[0], rtol=1e-5, atol=1e-6)
    assert subsets.session([last, early]) is whole
    everything = await model.infer(InferenceRequest(feeds, [t.name for t in whole.outputs]))
    for found, wanted in zip(everything.outputs, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    model.close()


def test_what_cannot_be_cut_is_computed_whole(path: Path, maker: ThreadPoolExecutor) -> None:
    whole = Session(path)
    subsets = OutputSubsets(path.with_name("gone.onnx"), whole, 1, _trusted, maker)
    early = whole.outputs[0].name
    assert subsets.session([early]) is whole
    maker.shutdown(wait=True)
    assert subsets.session([early]) is whole


async def test_a_part_that_fails_its_trial_is_computed_whole(path: Path, maker: ThreadPoolExecutor) -> None:
    """Even if the whole model runs, a subset may fail: optimizations differ."""
    whole = Session(path)
    asked: list[bytes] = []

    def refuse(data: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        asked.append(data)
        raise TrialCrashed("a part: SIGSEGV")

    subsets = OutputSubsets(path, whole, 1, refuse, maker)
    early = whole.outputs[0].name
    assert subsets.session([early]) is whole
    maker.shutdown(wait=True)
    assert len(asked) == 1
    assert subsets.session([early]) is whole


def test_a_part_of_a_file_is_tried_as_it_will_be_used(path: Path) -> None:
    graph, trials = Graph(path.read_bytes()), Trials()
    admit = subset_admission(path, trials)
    admit(graph.slice(["image"], ["exit1_logits"]), *graph.contract(["image"], ["exit1_logits"]))
    with pytest.raises(TrialCrashed, match="a subset of"):
        admit(crashing(), [Tensor("x", "FP32", (-1, 8))], [Tensor("y", "FP32", (-1, 6))])
    assert trials.started == 2
