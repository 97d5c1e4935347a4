"""Which tails a service may unload, and how a slice becomes a model of Triton."""

import ast

from edge_api.tensors import Tensor
from edge_operator.errors import TailRefusedError, TritonUnreachableError
from edge_operator.names import is_tail_of, tail_name
from edge_operator.residency import GRACE, dirty_services, superseded
from edge_operator.runs import ServiceKey, TailKey
from edge_operator.triton import Tail, model_config, model_files

KEY = ServiceKey("default", "digits")
OLD, NEW = "default-digits-" + "0" * 12, "default-digits-" + "1" * 12
HERE = "triton:8000"
TAIL = Tail(
    address=HERE,
    name=NEW,
    backend="python",
    digest="sha256:" + "1" * 64,
    inputs=(Tensor(name="pool1", datatype="FP32", shape=(-1, 16, 8, 8)),),
    outputs=(Tensor(name="text", datatype="BYTES", shape=(-1, 1)),),
)


def test_a_tail_waits_out_the_grace_time_before_it_goes() -> None:
    ready, used = {HERE: frozenset({OLD, NEW})}, frozenset({TailKey(HERE, NEW)})
    due, waiting = superseded(KEY, ready, used, {}, 100.0)
    assert (due, waiting) == ([], {TailKey(HERE, OLD): 100.0})
    due, waiting = superseded(KEY, ready, used, waiting, 100.0 + GRACE - 1)
    assert (due, waiting) == ([], {TailKey(HERE, OLD): 100.0})
    due, waiting = superseded(KEY, ready, used, waiting, 100.0 + GRACE)
    assert (due, waiting) == ([TailKey(HERE, OLD)], {})


def test_a_tail_that_is_used_again_stays_and_its_time_restarts() -> None:
    ready = {HERE: frozenset({OLD})}
    _, waiting = superseded(KEY, ready, frozenset(), {}, 0.0)
    due, waiting = superseded(KEY, ready, frozenset({TailKey(HERE, OLD)}), waiting, 20.0)
    assert (due, waiting) == ([], {})
    due, waiting = superseded(KEY, ready, frozenset(), waiting, 40.0)
    assert (due, waiting) == ([], {TailKey(HERE, OLD): 40.0})


def test_models_of_others_are_never_touched() -> None:
    others = frozenset(
        {"resnet", "default-digits", "default-digits-v2-" + "0" * 12, "prod-digits-" + "0" * 12}
    )
    assert superseded(KEY, {HERE: others}, frozenset(), {}, 0.0) == ([], {})


def test_a_tails_name_holds_namespace_service_and_slice() -> None:
    name = tail_name("default", "digits", "sha256:0123456789abcdef" + "0" * 48)
    assert name == "default-digits-0123456789ab"
    assert is_tail_of(name, "default", "digits")
    assert not is_tail_of(name, "default", "digit")
    assert not is_tail_of(name + "0", "default", "digits")


def test_services_whose_triton_forgot_or_vanished_are_found() -> None:
    def ready(address: str) -> frozenset[str]:
        if address == "away:8000":
            raise TritonUnreachableError("nobody")
        if address == "proxy:8000":
            raise TailRefusedError("a proxy says no")
        return frozenset({"kept"})

    expected = {
        ServiceKey("n", "fine"): frozenset({TailKey(HERE, "kept")}),
        ServiceKey("n", "forgotten"): frozenset({TailKey(HERE, "kept"), TailKey(HERE, "lost")}),
        ServiceKey("n", "away"): frozenset({TailKey("away:8000", "kept")}),
        ServiceKey("n", "refused"): frozenset({TailKey("proxy:8000", "kept")}),
    }
    dirty = [ServiceKey("n", name) for name in ("forgotten", "away", "refused")]
    assert dirty_services(expected, ready) == dirty


def test_the_configuration_names_tensors_and_types_in_tritons_words() -> None:
    config = model_config(TAIL)
    assert config["input"] == [{"name": "pool1", "data_type": "TYPE_FP32", "dims": [-1, 16, 8, 8]}]
    assert config["output"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": [-1, 1]}]
    assert (config["backend"], config["max_batch_size"]) == ("python", 0)


def test_the_python_backend_gets_the_model_py_along_and_onnxruntime_the_slice_alone() -> None:
    files = model_files(TAIL, b"onnx")
    assert files["file:1/model.onnx"] == b"onnx"
    source = ast.parse(files["file:1/model.py"])
    assert "TritonPythonModel" in [node.name for node in source.body if isinstance(node, ast.ClassDef)]
    from dataclasses import replace

    assert set(model_files(replace(TAIL, backend="onnxruntime"), b"onnx")) == {"file:1/model.onnx"}
