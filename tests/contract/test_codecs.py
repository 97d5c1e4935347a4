"""The API names the codecs of a hop; runtime and operator implement exactly these."""

import numpy as np
import pytest

from edge_api.placements import CODECS
from edge_operator import codecs
from edge_runtime.codecs import contracts
from edge_runtime.codecs.decoding import decoded
from edge_runtime.codecs.nodes import decoder, encoder
from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Array, Tensor

CUT = Tensor("hidden", "FP32", (-1, 4))


def test_runtime_and_operator_know_the_codecs_of_the_api() -> None:
    assert contracts.CODECS == CODECS
    assert {contracts.FP32, *codecs.RATIOS} == set(CODECS)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_has_tensors_on_the_wire(codec: str) -> None:
    assert contracts.wire_tensors([CUT], codec)


def test_an_unknown_codec_is_an_error_that_names_it() -> None:
    wire: list[Array] = [np.zeros((1, 4), np.uint8), np.ones((1, 1), np.float32), np.zeros((1, 1), np.uint8)]
    for use in (
        lambda: contracts.wire_tensors([CUT], "int4"),
        lambda: list(encoder(CUT, "wire", "int4", 20)),
        lambda: list(decoder(CUT, "wire", "int4", 20)),
        lambda: decoded([CUT], "int4", wire),
    ):
        with pytest.raises(BadRequest, match='codec: "int4" is not a codec'):
            use()
