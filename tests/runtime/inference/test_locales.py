"""A text model whose locale is missing is rejected with the locale's name and its package."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.locales import lacking
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Tensor
from messages import mentions
from networks import info, model_of


def lowered(**attributes: str) -> bytes:
    """A model that converts strings to lower case."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", **attributes)
    return model_of([node], [info("x", "N", datatype="BYTES")], [info("y", "M", datatype="BYTES")])


@pytest.mark.parametrize("described", [False, True], ids=["a file", "a slice"])
def test_a_locale_that_is_not_there_is_named_with_what_brings_it(described: bool) -> None:
    tensors = ([Tensor("x", "BYTES", (-1,))], [Tensor("y", "BYTES", (-1,))]) if described else (None, None)
    with pytest.raises(CannotLoad) as caught:
        Session(lowered(locale="xx_XX.UTF-8"), *tensors)
    install = "apt-get install locales && localedef -i xx_XX -f UTF-8 xx_XX.UTF-8"
    assert mentions('locale "xx_XX.UTF-8"', install).search(str(caught.value))


def test_a_locale_of_another_form_is_named_alone() -> None:
    with pytest.raises(CannotLoad) as caught:
        Session(lowered(locale="klingon"))
    assert mentions('locale "klingon"', "install").search(str(caught.value))
    assert "localedef" not in str(caught.value)


def test_the_one_that_models_take_by_default_is_there_or_named() -> None:
    try:
        found = Session(lowered()).run({"x": np.array(["GRÖßE"], object)})[0].tolist()
    except CannotLoad as error:
        assert 'locale "en_US.UTF-8"' in str(error)  # noqa: PT017
    else:
        assert found == ["größe"]


def test_what_every_machine_has_serves() -> None:
    [found] = Session(lowered(locale="C.UTF-8")).run({"x": np.array(["GRÖßE"], object)})
    assert found.tolist() == ["größe"]


def test_other_complaints_are_not_taken_for_a_locale() -> None:
    assert lacking("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.") == ""
