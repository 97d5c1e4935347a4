"""The accuracies that models claim."""

from edge_planning.declared_exits import DeclaredExit


def stated_accuracy(exit_: DeclaredExit) -> float:
    """Returns the accuracy that an exit claims; 0 if it states none, which every measurement fulfills."""
    return 0.0 if exit_.accuracy is None else exit_.accuracy
