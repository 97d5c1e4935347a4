"""Clients get every output of a model as onnxruntime gives it, whatever the route."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callers import CALLERS, Array, Caller, by_bytes
from messages import mentions
from networks import run
from routed import Cutter, routed
from several_tensors import SEVERAL, Several, detector
from stages import ask, entry

WAYS = {"at the entry node": 0, "over a hop": 1, "over two hops": 2}


def _equal(several: Several, sockets: Path, inputs: Mapping[str, Array], caller: Caller) -> None:
    right = run(several.model, inputs)
    found = caller(sockets, "digits", inputs)
    assert list(found) == list(several.outputs)
    for name, array in found.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape)
        np.testing.assert_allclose(array, right[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", SEVERAL)
def test_every_output_is_as_onnxruntime_gives_it(kind: str, way: str, tmp_path: Path) -> None:
    """Also of a detector that finds nothing, of an empty past, and of inputs that bypass the cut."""
    several = SEVERAL[kind]
    with routed(several.model, several.outputs, several.cuts[: WAYS[way]], tmp_path) as sockets:
        for inputs in several.requests:
            for caller in CALLERS:
                _equal(several, sockets, inputs, caller)


@pytest.mark.parametrize("kind", SEVERAL)
def test_a_fallback_has_every_output_as_onnxruntime_gives_it(kind: str, tmp_path: Path) -> None:
    several = SEVERAL[kind]
    cuts = several.cuts[:1]
    with routed(several.model, several.outputs, cuts, tmp_path, last_of=b"", local=True) as sockets:
        for inputs in several.requests:
            _equal(several, sockets, inputs, by_bytes)


@pytest.mark.parametrize("codec", ["fp16", "int8", "int8-per-channel"])
@pytest.mark.parametrize("kind", SEVERAL)
def test_a_codec_encodes_the_tensors_that_it_can_carry_and_leaves_the_others(kind: str, codec: str) -> None:
    """The sample rate, numbers of detections and empty tensors cross a hop with every codec."""
    several = SEVERAL[kind]
    graph = Cutter(several.model, several.outputs).graph
    start = graph.needed_inputs(several.outputs)
    for cut in several.cuts:
        head = graph.slice(start, cut, encode=codec)
        tail = graph.slice(cut, several.outputs, decode=codec)
        for inputs in several.requests:
            right, found = run(several.model, inputs), run(tail, run(head, inputs))
            for name in several.outputs:
                assert (found[name].dtype, found[name].shape) == (right[name].dtype, right[name].shape)
                largest = float(np.abs(right[name]).max(initial=0.0))
                np.testing.assert_allclose(found[name], right[name], atol=0.05 * largest)


def _document(several: Several, *outputs: str) -> dict[str, Any]:
    described = [
        {"name": n, "shape": list(a.shape), "datatype": "FP32", "data": a.ravel().tolist()}
        for n, a in several.requests[1].items()
    ]
    return {"inputs": described} | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})


def test_a_client_gets_the_outputs_that_it_names_in_its_order(tmp_path: Path) -> None:
    several = detector()
    with routed(several.model, several.outputs, several.cuts[:1], tmp_path) as sockets:
        for names in (("count",), ("scores", "boxes")):
            document = _document(several, *names)
            status, reply = ask(sockets, "POST", "/v2/models/digits/infer", document)
            assert status == 200
            assert [output["name"] for output in reply["outputs"]] == list(names)
        status, reply = ask(sockets, "POST", "/v2/models/digits/infer", _document(several, "boxs"))
    assert status == 400
    assert mentions('"boxs"', *several.outputs).search(reply["error"])


def test_metadata_lists_the_outputs_of_the_full_model(tmp_path: Path) -> None:
    several = detector()
    with routed(several.model, several.outputs, (), tmp_path) as sockets:
        _, reply = ask(sockets, "GET", "/v2/models/digits")
    assert [output["name"] for output in reply["outputs"]] == list(several.outputs)


def test_confidence_is_that_of_the_only_output_with_classes(tmp_path: Path) -> None:
    """Boxes have the shape of classes if one is found, but their rows are not those of the batch."""
    several = detector()
    with routed(several.model, several.outputs, (), tmp_path) as sockets:
        _, reply = ask(sockets, "POST", "/v2/models/digits/infer", _document(several))
    classes = run(several.model, several.requests[1])["classes"]
    shares = np.exp(classes - classes.max())
    assert reply["parameters"]["confidence"] == pytest.approx(float(1 / shares.sum()), abs=1e-4)


def _with_own_names(several: Several, folder: Path, stack: ExitStack) -> Path:
    """An entry node whose only route returns two of the outputs, one of them under another name."""
    cutter = Cutter(several.model, several.outputs)
    stage = cutter.stage(["x"], ["classes", "boxes"])
    named = [{"name": "coarse_boxes", "tensor": "boxes"}, {"name": "classes", "tensor": "classes"}]
    route = cutter.route("early@local", stage) | {"exit": "early", "outputs": named}
    return stack.enter_context(entry(cutter.keep(folder), cutter.placement([route])))


@pytest.mark.parametrize("caller", CALLERS)
def test_an_exit_with_names_of_its_own_responds_under_them(caller: Caller, tmp_path: Path) -> None:
    several = detector()
    with ExitStack() as stack:
        sockets = _with_own_names(several, tmp_path, stack)
        for inputs in several.requests:
            right = run(several.model, inputs)
            found = caller(sockets, "digits", inputs)
            assert list(found) == ["coarse_boxes", "classes"]
            np.testing.assert_array_equal(found["coarse_boxes"], right["boxes"])
            np.testing.assert_array_equal(found["classes"], right["classes"])


def test_a_client_that_names_an_output_of_another_exit_gets_a_sentence(tmp_path: Path) -> None:
    several = detector()
    with ExitStack() as stack:
        sockets = _with_own_names(several, tmp_path, stack)
        for _ in range(2):  # the second time by the cached header
            reply = ask(sockets, "POST", "/v2/models/digits/infer", _document(several, "count"))
            assert reply[0] == 400
            assert mentions("outputs", '"count"', "early", "coarse_boxes", "classes").search(
                reply[1]["error"]
            )
        for names in (("classes",), ("classes", "coarse_boxes")):
            status, said = ask(sockets, "POST", "/v2/models/digits/infer", _document(several, *names))
            assert status == 200
            assert [output["name"] for output in said["outputs"]] == list(names)
