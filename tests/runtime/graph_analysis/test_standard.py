"""The table of operators against the examples in the ONNX standard's own tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from edge_runtime.errors import EdgeError
from edge_runtime.graph_analysis.analysis import proven_of
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Array

Feeds = dict[str, Array]


def examples() -> Iterator[tuple[str, bytes, Feeds]]:
    """Each example with its inputs as those of a request, with an open first dimension; then with the first
    input only, and the others as constants.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some expected values divide by zero
        cases = collect_testcases(None)
    for case in cases:
        if case.model is None or not case.data_sets or "_expanded" in case.name:
            continue
        given, inputs = case.data_sets[0][0], list(case.model.graph.input)
        plain = all(getattr(each, "dtype", np.dtype("O")).kind != "O" for each in given)  # no sequences
        if not plain or len(given) != len(inputs) or not given:
            continue
        for asked in {len(inputs), 1}:
            if all(each.ndim and len(each) for each in given[:asked]):
                feeds = {i.name: each for i, each in zip(inputs[:asked], given[:asked], strict=True)}
                yield case.name, opened(case.model, given, asked), feeds


def opened(model: onnx.ModelProto, given: Sequence[Any], asked: int) -> bytes:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.input[:]
    for i, (value, array) in enumerate(zip(model.graph.input, given, strict=True)):
        if i >= asked:
            made.graph.initializer.append(numpy_helper.from_array(array, value.name))
            continue
        made.graph.input.append(value)
        dims = made.graph.input[-1].type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_param = "N"
    for output in made.graph.output:
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    return bytes(made.SerializeToString())


def differences(model: bytes, feeds: Feeds) -> str:
    """How the results of three requests in a batch differ from each alone; empty if they do not."""
    try:
        session = Session(model, proven=ProvenProperties())
        count = min(len(each) for each in feeds.values())
        turned = {name: each[:1].reshape(-1)[::-1].reshape(each[:1].shape) for name, each in feeds.items()}
        requests = [{name: each[:1] for name, each in feeds.items()}, turned]
        requests += [{name: each[:count] for name, each in feeds.items()}]
        alone = [session.run(request) for request in requests]
    except EdgeError:  # an operator or inputs that onnxruntime lacks
        return ""
    together = session.run({name: np.concatenate([r[name] for r in requests]) for name in feeds})
    for *parts, whole in zip(*alone, together, strict=True):
        expected = np.concatenate(parts)
        exact = expected.dtype.kind not in "fc"
        same = np.array_equal if exact else lambda a, b: np.allclose(a, b, 1e-3, 1e-4, equal_nan=True)
        if expected.shape != whole.shape or not same(expected, whole):
            return f"{expected.shape} against {whole.shape}"
    return ""


def test_what_is_proven_of_any_operator_of_the_standard_is_so() -> None:
    proven, wrong = set(), []
    for name, model, feeds in examples():
        if proven_of(model).alone:
            continue
        proven.add(onnx.load_from_string(model).graph.node[0].op_type)
        if found := differences(model, feeds):
            wrong.append((name, sorted(feeds), found))
    assert wrong == []
    assert len(proven) > 100
