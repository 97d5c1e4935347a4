"""Sessions by onnxruntime's C API: the same results as by its Python API, without blocking other threads."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from mmap import mmap
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from benchmarks.runtime.dense_placements import HEAVY, network
from edge_runtime.errors import BadTensor, CannotLoad, ModelFailed
from edge_runtime.inference.memory import resident
from edge_runtime.inference.native import library, return_unused_memory
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.tensors import NUMPY_TYPES, Tensor
from networks import ONNX_TYPES, info, model_of
from waiting import until

INPUTS, OUTPUTS = [Tensor("x", "FP32", (-1, 256))], [Tensor("y", "FP32", (-1, 10))]


def _session() -> Session:
    return Session(network(1), INPUTS, OUTPUTS)


def _identity(datatype: str, *shape: int | str) -> bytes:
    ends = (info(name, *shape, datatype=datatype) for name in "xy")
    return model_of([helper.make_node("Identity", ["x"], ["y"])], [next(ends)], [next(ends)])


def test_the_library_comes_with_onnxruntime() -> None:
    assert library() is not None
    assert _session().native


def test_it_answers_bit_by_bit_as_the_python_interface_does() -> None:
    x = np.random.default_rng(1).normal(size=(5, 256)).astype(np.float32)
    other = ort.InferenceSession(network(1), providers=["CPUExecutionProvider"])
    session = _session()
    np.testing.assert_array_equal(session.run({"x": x})[0], other.run(["y"], {"x": x})[0])
    np.testing.assert_array_equal(session.run({"x": x[::2]})[0], other.run(["y"], {"x": x[::2]})[0])
    assert not session.proven.alone


@pytest.mark.parametrize("datatype", [name for name in ONNX_TYPES if name != "BYTES"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1, 1)])
def test_every_datatype_of_numbers_goes_through(datatype: str, shape: tuple[int, ...]) -> None:
    tensors = [Tensor(name, datatype, (-1, -1)) for name in ("x", "y")]
    session = Session(_identity(datatype, "N", "M"), tensors[:1], tensors[1:])
    bits = np.random.default_rng(2).integers(0, 2, size=shape)
    given = bits.astype(NUMPY_TYPES[datatype])
    (found,) = session.run({"x": given})
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found, given)


def test_a_scalar_stays_one() -> None:
    session = Session(_identity("FP32"), [Tensor("x", "FP32", ())], [Tensor("y", "FP32", ())])
    (found,) = session.run({"x": np.array(2.5, np.float32)})
    assert (found.shape, float(found)) == ((), 2.5)


def test_strings_take_the_python_interface() -> None:
    tensors = [Tensor(name, "BYTES", (-1,)) for name in ("x", "y")]
    session = Session(_identity("BYTES", "N"), tensors[:1], tensors[1:])
    assert not session.native
    assert session.run({"x": np.array(["a", "b"], object)})[0].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("feeds", "why"),
    [
        ({"x": np.zeros((1, 5), np.float32)}, "dimensions .*input: x"),
        ({"x": np.zeros((1, 256), np.float64)}, "input x .*float64"),
        ({"z": np.zeros((1, 256), np.float32)}, "input z is float32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_a_message(feeds: dict[str, Any], why: str) -> None:
    with pytest.raises(BadTensor, match=why):
        _session().run(feeds)


def test_a_halted_run_fails() -> None:
    session, halt = _session(), Halt()
    x = np.zeros((1, 256), np.float32)
    session.run({"x": x}, None, halt)
    halt.now()
    with pytest.raises(ModelFailed):
        session.run({"x": x}, None, halt)


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(CannotLoad, match=r"onnxruntime cannot load it: .*protobuf"):
        Session(b"no model", INPUTS, OUTPUTS)


def test_memory_of_what_is_not_a_model_can_be_closed() -> None:
    """As slices are read: the caller closes the memory while it handles the error."""
    data = mmap(-1, 4096)
    data[:4] = b"none"
    with pytest.raises(CannotLoad, match="onnxruntime cannot load it"), data:
        Session(data, INPUTS, OUTPUTS)
    assert data.closed


def test_unused_memory_is_returned_after_sessions_that_still_have_to_be_freed() -> None:
    session = Session(network(1, *HEAVY), INPUTS, OUTPUTS)
    loaded = resident()
    del session
    gc.collect()
    return_unused_memory()
    assert resident() < loaded - (32 << 20)


def test_a_response_outlives_its_session() -> None:
    x = np.ones((2, 256), np.float32)
    session = _session()
    (answer,) = session.run({"x": x})
    copy = answer.copy()
    del session
    gc.collect()
    for _ in range(3):
        _session().run({"x": 2 * x})
    np.testing.assert_array_equal(answer, copy)


def _longest_gap(work: Callable[[], object]) -> float:
    """The longest time in which another thread did not run, as a share of the duration of the work."""
    times, started, stop = list[float](), threading.Event(), threading.Event()

    def step() -> None:
        while not stop.is_set():
            times.append(time.perf_counter())
            started.set()

    other = threading.Thread(target=step)
    other.start()
    started.wait()
    begin = time.perf_counter()
    work()
    end = time.perf_counter()
    stop.set()
    other.join()
    during = [begin, *(t for t in times if begin < t < end), end]
    return max(after - before for before, after in pairwise(during)) / (end - begin)


def test_others_run_while_a_session_is_made() -> None:
    data = network(1, *HEAVY)
    # A busy machine can stop the other thread in some of them; a call that holds the lock does in each.
    assert any(_longest_gap(lambda: Session(data, INPUTS, OUTPUTS)) < 0.5 for _ in range(10))


def test_freed_sessions_give_their_memory_back() -> None:
    data = network(1, *HEAVY)
    gc.collect()
    before = resident()
    sessions = [Session(data, INPUTS, OUTPUTS) for _ in range(3)]
    assert resident() > before + len(data)  # part of it reuses memory that was freed before
    sessions.clear()
    until(lambda: resident() < before + len(data), "the memory is given back")
