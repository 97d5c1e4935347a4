"""The state that a manifest names becomes that of the Placement, or a message that names what is wrong."""

from typing import Any

import pytest

from edge_api.model_sources import ModelSource
from edge_operator.pool import kept_states
from edge_operator.store_answers import ModelCard
from messages import mentions


def tensor(name: str, *shape: int, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def card(*exits: dict[str, Any], state: tuple[int, ...] = (2, -1, 128)) -> ModelCard:
    """A voice detector: frames and a state to a probability and the next state."""
    whole = {
        "name": "final",
        "outputs": ["output", "stateN"],
        "tensors": [tensor("output", -1, 1), tensor("stateN", *state)],
        "cuts": [],
    }
    inputs = [
        tensor("input", -1, 512),
        tensor("state", *state),
        tensor("sr", datatype="INT64"),
    ]
    return ModelCard.model_validate(
        {"digest": "sha256:" + 64 * "0", "inputs": inputs, "exits": [*exits, whole]}
    )


def source(state: list[dict[str, Any]], **more: Any) -> ModelSource:
    return ModelSource.model_validate({"storageUri": "store://voice.onnx", "state": state, **more})


PAIR = {"output": "stateN", "input": "state"}
SHAPE = [{"name": "state", "shape": [2, 1, 128]}]


def test_open_sizes_of_the_state_are_those_of_the_manifest() -> None:
    given = source([PAIR | {"initial": 0.5}], inputs=SHAPE)
    assert kept_states.problem(given, card()) == ""
    (found,) = kept_states.placed(given, card()) or ()
    assert (found.output, found.input, found.initial, found.shape) == ("stateN", "state", 0.5, (2, 1, 128))


def test_an_open_first_dimension_is_one_row() -> None:
    (found,) = kept_states.placed(source([PAIR]), card(state=(-1, 128))) or ()
    assert found.shape == (1, 128)


def test_a_model_without_state_has_none() -> None:
    stateless = ModelSource.model_validate({"storageUri": "store://voice.onnx"})
    assert kept_states.problem(stateless, card()) == ""
    assert kept_states.placed(stateless, card()) is None


@pytest.mark.parametrize(
    ("pair", "parts"),
    [
        (PAIR | {"input": "h"}, ("input, state, sr", "output, stateN")),
        (PAIR | {"output": "hn"}, ("input, state, sr", "output, stateN")),
        (PAIR | {"input": "sr"}, ("FP32", "INT64", "same datatype")),
        (PAIR, ("[2, -1, 128]", "spec.model.inputs")),
    ],
)
def test_a_state_that_cannot_be_kept_is_said(pair: dict[str, Any], parts: tuple[str, ...]) -> None:
    given = source([pair])
    assert mentions(f"spec.model.state: {pair['output']} to {pair['input']}:", *parts).search(
        kept_states.problem(given, card())
    )
    assert kept_states.placed(given, card()) is None


def test_an_exit_that_does_not_return_the_state_is_said() -> None:
    early = {"name": "early", "outputs": ["output0"], "accuracy": 0.8, "cuts": []}
    found = kept_states.problem(source([PAIR], inputs=SHAPE), card(early))
    assert mentions("exit early", "stateN", "outputs of the exit").search(found)


def test_exits_return_the_state_under_the_names_of_the_last_exit_or_their_own() -> None:
    early = {"name": "early", "outputs": ["output0", "state0"], "accuracy": 0.8, "cuts": []}
    given = source([PAIR], inputs=SHAPE)
    assert kept_states.problem(given, card(early)) == ""
    assert "exit early" in kept_states.problem(given, card(early | {"responseNames": "Own"}))
