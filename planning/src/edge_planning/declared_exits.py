"""The exits that a manifest or the metadata of a model file lists: name, outputs and accuracy of each."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from reprlib import repr as brief
from typing import Final

from edge_planning.errors import BadModelError

EXITS_KEY = "edge.exits"
"""Key in a file's metadata; the value is a JSON list of {"name", "output" or "outputs", "accuracy"}."""
FINAL: Final = "final"
"""Name of the exit of a file that lists none."""
_FORM = "write [{name, output, accuracy}, …]"


class BadExitError(BadModelError):
    """An entry of the list, or the list itself, is invalid.

    Attributes:
        path: The entry's index and field, e.g. `[0].accuracy`; empty for the list.
        value: What the list has there.
        problem: What is wrong with it.
        fix: What to write instead.
    """

    def __init__(self, path: str, value: object, problem: str, fix: str) -> None:
        super().__init__(f"exits{path}: {brief(value)} {problem}: {fix}")
        self.path, self.value, self.problem, self.fix = path, value, problem, fix


class BadAccuracyError(BadExitError):
    """An accuracy is not a share between 0 and 1, or missing although there are several exits."""


class UnknownOutputError(BadExitError):
    """The graph lacks an output of an exit."""


@dataclass(frozen=True, slots=True)
class DeclaredExit:
    """A named set of a model's outputs; the last exit is the full model.

    Attributes:
        accuracy: 0 to 1. None: not stated, which only an only exit can be.
        own_names: Whether its outputs answer under their own names, not under those of the last exit.
    """

    name: str
    outputs: tuple[str, ...]
    accuracy: float | None = None
    own_names: bool = False

    @property
    def end(self) -> str:
        """The outputs' names, joined by `+`."""
        return "+".join(self.outputs)


def whole_model(outputs: Sequence[str]) -> tuple[DeclaredExit, ...]:
    """Returns the exit of a file that lists none: all of its computed outputs."""
    return (DeclaredExit(FINAL, tuple(outputs)),)


def parse_exits(text: str, outputs: Collection[str] | None = None) -> tuple[DeclaredExit, ...]:
    """Returns the exits in the text of a file's metadata; see check_exits.

    Raises:
        BadExitError: The text is not JSON, or check_exits refuses it.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadExitError("", text, f"is not JSON ({error})", f"write {EXITS_KEY} as a list") from error
    return check_exits(entries, outputs)


def check_exits(entries: object, outputs: Collection[str] | None = None) -> tuple[DeclaredExit, ...]:
    """Returns the exits of a list, in its order. outputs: those of the graph; None: any.

    Raises:
        BadExitError: An entry is invalid, two have the same name or outputs, one of several has no accuracy
            or not as many outputs as the last, or the list is empty.
    """
    if not isinstance(entries, list | tuple) or not entries:
        raise BadExitError("", entries, "is not a list of exits", _FORM)
    exits = tuple(_exit(f"[{number}]", entry, outputs) for number, entry in enumerate(entries))
    for field in ("name", "outputs"):
        values = [getattr(exit_, field) for exit_ in exits]
        twice = next((number for number, value in enumerate(values) if value in values[:number]), None)
        if twice is not None:
            where, value = f"[{twice}].{field}", values[twice]
            if field == "outputs" and "output" in entries[twice]:
                where, value = f"[{twice}].output", value[0]
            raise BadExitError(where, value, "is listed twice", "each exit needs its own")
    for number, exit_ in enumerate(exits[:-1]):
        _check_beside_the_last(f"[{number}]", exit_, exits[-1])
    if len(exits) > 1 and exits[-1].accuracy is None:
        raise _without_accuracy(f"[{len(exits) - 1}]")
    return exits


def _check_beside_the_last(path: str, exit_: DeclaredExit, last: DeclaredExit) -> None:
    if exit_.accuracy is None:
        raise _without_accuracy(path)
    if not exit_.own_names and len(exit_.outputs) != len(last.outputs):
        raise BadExitError(
            f"{path}.outputs",
            list(exit_.outputs),
            f"are not as many as the {len(last.outputs)} of the last exit, whose names they take",
            "name as many, or write responseNames: Own",
        )


def _without_accuracy(path: str) -> BadAccuracyError:
    problem = "is missing, and several exits are compared by it"
    return BadAccuracyError(f"{path}.accuracy", None, problem, "write a share between 0 and 1")


def _exit(path: str, entry: object, outputs: Collection[str] | None) -> DeclaredExit:
    if not isinstance(entry, Mapping):
        raise BadExitError(path, entry, "is not an exit", "write {name, output, accuracy}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise BadExitError(f"{path}.name", name, "is not a name", "write a non-empty string")
    names = _outputs(path, entry, outputs)
    response_names = entry.get("responseNames")
    if response_names not in (None, "Final", "Own"):
        fix = "write Final, for the names of the last exit's outputs, or Own"
        raise BadExitError(f"{path}.responseNames", response_names, "is unknown", fix)
    return DeclaredExit(name, names, _accuracy(path, entry.get("accuracy")), response_names == "Own")


def _outputs(path: str, entry: Mapping[str, object], known: Collection[str] | None) -> tuple[str, ...]:
    one, several = entry.get("output"), entry.get("outputs")
    if one is not None and several is not None:
        fix = "write one of the two: outputs for several"
        raise BadExitError(f"{path}.output", one, "stands beside outputs", fix)
    if several is None:
        named = [(f"{path}.output", one)]
    elif isinstance(several, list | tuple) and several:
        named = [(f"{path}.outputs[{number}]", name) for number, name in enumerate(several)]
    else:
        raise BadExitError(f"{path}.outputs", several, "is not a list of names", "write [NAME, …]")
    found: list[str] = []
    for where, name in named:
        if not isinstance(name, str) or not name:
            raise BadExitError(where, name, "is not a name", "write a non-empty string")
        if name in found:
            raise BadExitError(where, name, "is listed twice", "name each output once")
        if known is not None and name not in known:
            fix = f"its outputs are {', '.join(known)}"
            raise UnknownOutputError(where, name, "is not an output of the graph", fix)
        found.append(name)
    return tuple(found)


def _accuracy(path: str, accuracy: object) -> float | None:
    if accuracy is None:
        return None
    where = f"{path}.accuracy"
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
        raise BadAccuracyError(where, accuracy, "is not a number", "write a share between 0 and 1")
    if not 0 <= accuracy <= 1 or not isfinite(accuracy):
        raise BadAccuracyError(where, accuracy, "is not between 0 and 1", "write a share such as 0.93")
    return float(accuracy)
