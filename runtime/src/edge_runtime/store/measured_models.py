"""The models whose accuracy can be measured: of one input, with exits of one output."""

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


def only_output(exit_: DeclaredExit) -> str:
    """Returns the only output of an exit. Raises BadRequest for an exit of several."""
    if len(exit_.outputs) != 1:
        raise BadRequest(
            f"validation: exit {exit_.name} has {len(exit_.outputs)} outputs ({', '.join(exit_.outputs)}), "
            f"and accuracies are measured on exits with one: remove spec.model.validation"
        )
    return exit_.outputs[0]


def stated_accuracy(exit_: DeclaredExit) -> float:
    """Returns the accuracy that an exit claims; 0 if it states none, which every measurement fulfills."""
    return 0.0 if exit_.accuracy is None else exit_.accuracy
