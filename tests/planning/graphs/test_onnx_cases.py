"""ONNX's own tests of its operators: some 1,900 models with expected results."""

import warnings

import numpy as np
from onnx.backend.test.case.node import collect_testcases

from edge_planning.graphs.onnx_reading import read_graph


def test_each_is_read_and_shapes_without_a_warning_are_right() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ONNX's code, which computes with infinities
        cases = [case for case in collect_testcases() if case.model is not None]
    compared = 0
    for case in cases:
        assert case.model is not None
        graph = read_graph(case.model, name=case.name)
        if graph.warnings or not case.data_sets:
            continue
        for value, result in zip(case.model.graph.output, case.data_sets[0][1], strict=False):
            if isinstance(result, np.ndarray):
                assert graph.tensors[value.name].shape == result.shape, case.name
                compared += 1
    assert compared > 1500
