"""The models whose accuracy can be measured: those of one input."""

from edge_planning.declared_exits import DeclaredExit
from edge_runtime.errors import BadRequest
from edge_runtime.slicing import Graph


def only_input(graph: Graph) -> str:
    """Returns the only input of a model. Raises BadRequest for a model with several."""
    if len(graph.inputs) != 1:
        raise BadRequest(
            f"validation: the model has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), and "
            f"accuracies are measured on models with one: remove spec.model.validation"
        )
    return graph.inputs[0]


def stated_accuracy(exit_: DeclaredExit) -> float:
    """Returns the accuracy that an exit claims; 0 if it states none, which every measurement fulfills."""
    return 0.0 if exit_.accuracy is None else exit_.accuracy
