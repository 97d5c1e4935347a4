"""The state of a recurrent model that entry nodes keep: from the manifest's pairs to the Placement. Pure."""

from collections.abc import Sequence

from edge_api.model_sources import ModelSource
from edge_api.sequences import PlacedState, StatePair
from edge_api.tensors import Tensor
from edge_operator.store_answers import CardExit, ModelCard


def problem(source: ModelSource, card: ModelCard) -> str:
    """Returns what is wrong with the state that the manifest names, and the fix; empty if nothing is."""
    return next((found for pair in source.state or () if (found := _problem(pair, source, card))), "")


def placed(source: ModelSource, card: ModelCard) -> tuple[PlacedState, ...] | None:
    """Returns the pairs with the shape of each initial state; None without any, or if there is a problem."""
    if source.state is None or problem(source, card):
        return None
    inputs = {tensor.name: tensor for tensor in card.inputs}
    return tuple(
        PlacedState(**pair.model_dump(), shape=_initial_shape(inputs[pair.input], source))
        for pair in source.state
    )


def _problem(pair: StatePair, source: ModelSource, card: ModelCard) -> str:
    where = f"spec.model.state: {pair.output} to {pair.input}"
    inputs = {tensor.name: tensor for tensor in card.inputs}
    outputs = {tensor.name: tensor for tensor in card.outputs}
    takes, gives = inputs.get(pair.input), outputs.get(pair.output)
    if takes is None or gives is None:
        return f"{where}: the model has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}"
    if takes.datatype != gives.datatype or takes.datatype == "BYTES":
        return (
            f"{where}: the output has {gives.datatype}, the input {takes.datatype}: name two numeric tensors "
            f"of the same datatype"
        )
    lacking = _exit_without(pair.output, card.exits)
    if lacking is not None:
        return (
            f"{where}: exit {lacking.name} does not return {pair.output}: add it to the outputs of the exit, "
            f"or remove the exit"
        )
    if any(size < 0 for size in _initial_shape(takes, source)):
        return (
            f"{where}: {pair.input} has open dimensions ({list(takes.shape)}): give its shape in "
            f"spec.model.inputs"
        )
    return ""


def _exit_without(output: str, exits: Sequence[CardExit]) -> CardExit | None:
    """Returns the first exit whose responses lack an output of the full model."""
    names = exits[-1].outputs
    for exit_ in exits:
        own = exit_.response_names == "Own"
        if output not in (exit_.outputs if own else names[: len(exit_.outputs)]):
            return exit_
    return None


def _initial_shape(takes: Tensor, source: ModelSource) -> tuple[int, ...]:
    """Returns the shape of the input in the first request; -1 where a size is not known."""
    given = next((each.typical for each in source.inputs or () if each.name == takes.name), None)
    if given is not None:
        return tuple(given)
    return tuple(1 if i == 0 and size < 0 else size for i, size in enumerate(takes.shape))
