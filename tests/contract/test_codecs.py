"""A codec is defined once, in the runtime: slicing, the store, the operator and the planner use it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge_api.placements import UNENCODED
from edge_operator.pool.codecs import usable_codecs
from edge_operator.store_answers import CodecAccuracies
from edge_runtime.codecs import registry
from edge_runtime.codecs.contracts import forms, names, wire_tensors
from edge_runtime.codecs.definitions import Codec
from edge_runtime.codecs.nodes import decoder, encoder
from edge_runtime.codecs.operators import CodecOperator, cast
from edge_runtime.codecs.registry import by_name
from edge_runtime.errors import BadRequest
from edge_runtime.slicing import Graph
from edge_runtime.store.codec_accuracies import measure_codecs
from edge_runtime.store.codec_checks import decoded
from edge_runtime.tensors import Array, Tensor
from messages import mentions
from networks import info, model_of

CUT = Tensor("hidden", "FP32", (-1, 4))
SOURCES = Path(__file__).parents[2]


class Bytes(Codec):
    """Whole numbers of one byte: not a codec that anybody needs."""

    name = "bytes"

    def wire(self, tensor: Tensor, name: str) -> Iterator[Tensor]:
        yield Tensor(name, "UINT8", tensor.shape, batched=tensor.batched)

    def encoder(self, tensor: Tensor, value: str, name: str, opset: int) -> Iterator[CodecOperator]:
        yield cast(value, name, "UINT8")

    def decoder(self, tensor: Tensor, name: str) -> Iterator[CodecOperator]:
        yield cast(name, f"{name}.value", tensor.datatype)

    def decoded(self, tensor: Tensor, wire: Sequence[Array]) -> Array:
        return wire[0].astype(np.float32)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(registry, "CODECS", MappingProxyType({**registry.CODECS, Bytes.name: Bytes()}))
    return Bytes.name


def graph() -> Graph:
    """Sixteen whole numbers from 0 to 100, and which half has the larger sum."""
    halves = np.repeat(np.eye(2, dtype=np.float32), 8, axis=0)
    nodes = [
        helper.make_node("Abs", ["x"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "halves"], ["y"]),
    ]
    weights = [numpy_helper.from_array(halves, "halves")]
    return Graph(model_of(nodes, [info("x", "N", 16)], [info("y", "N", 2)], weights))


def test_a_codec_of_the_registry_is_measured_and_planned_without_further_code(one_more: str) -> None:
    samples = np.random.default_rng(1).integers(0, 100, (200, 16)).astype(np.float32)
    labels = (samples[:, 8:].sum(1) > samples[:, :8].sum(1)).astype(np.int64)
    measured = measure_codecs(graph(), {"final": "y"}, {"x": samples}, labels)
    found = CodecAccuracies.model_validate(
        {"complete": True, "samples": 200, "measured": [m.document() for m in measured]}
    )
    planned = {codec.name: codec for codec in usable_codecs(found)}
    assert one_more in planned
    assert planned[one_more].sizes == {("final", "x"): 16, ("final", "hidden"): 16}
    assert planned[one_more].at == {("final", "x"): 0.0, ("final", "hidden"): 0.0}


def test_a_new_codec_makes_the_store_measure_again(one_more: str) -> None:
    assert one_more in forms()
    assert set(forms()) == set(names())


@pytest.mark.parametrize("name", [UNENCODED, "", "a:b", "a,b", "Int4"])
def test_a_codec_needs_a_name_that_routes_and_tensors_can_contain(name: str) -> None:
    codec = Bytes()
    codec.name = name  # type: ignore[misc]
    with pytest.raises(ValueError, match="is not a name"):
        by_name(codec)


@pytest.mark.parametrize("codec", names())
def test_every_codec_has_tensors_on_the_wire(codec: str) -> None:
    assert wire_tensors([CUT], codec)


def test_an_unknown_codec_is_an_error_that_names_it() -> None:
    wire: list[Array] = [np.zeros((1, 4), np.uint8), np.ones((1, 1), np.float32), np.zeros((1, 1), np.uint8)]
    for use in (
        lambda: wire_tensors([CUT], "int4"),
        lambda: list(encoder(CUT, "wire", "int4", 20)),
        lambda: list(decoder(CUT, "wire", "int4", 20)),
        lambda: decoded([CUT], "int4", wire),
    ):
        with pytest.raises(BadRequest, match=mentions('codec: "int4"')):
            use()


@pytest.mark.parametrize("name", sorted(registry.CODECS))
def test_only_the_module_of_a_codec_names_it(name: str) -> None:
    texts = {
        str(path.relative_to(SOURCES)): path.read_text()
        for part in ("api/src", "planning/src", "operator/src", "runtime/src")
        for path in (SOURCES / part).rglob("*.py")
    }
    # Elsewhere, int8 is a type of NumPy.
    naming = [path for path, text in texts.items() if f'"{name}"' in text and "codec" in text.lower()]
    assert len(naming) == 1
    assert naming[0].startswith("runtime/src/edge_runtime/codecs/")
