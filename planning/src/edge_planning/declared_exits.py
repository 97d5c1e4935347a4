"""The exits that a manifest or the metadata of a model file lists: a name, an output and an accuracy each."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from reprlib import repr as brief

from edge_planning.errors import BadModelError

EXITS_KEY = "edge.exits"
"""Key in a file's metadata; the value is a JSON list of {"name", "output", "accuracy"}."""


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
    """An accuracy is not a share between 0 and 1."""


class UnknownOutputError(BadExitError):
    """The graph lacks the output of an exit."""


@dataclass(frozen=True, slots=True)
class DeclaredExit:
    """An output of a model with its accuracy, 0 to 1; the last exit is the full model."""

    name: str
    output: str
    accuracy: float


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
        BadExitError: An entry is invalid, two have the same name or output, or the list is empty.
    """
    if not isinstance(entries, list | tuple) or not entries:
        raise BadExitError("", entries, "is not a list of exits", "write [{name, output, accuracy}, …]")
    exits = tuple(_exit(f"[{number}]", entry, outputs) for number, entry in enumerate(entries))
    for field in ("name", "output"):
        values = [getattr(exit_, field) for exit_ in exits]
        twice = next((number for number, value in enumerate(values) if value in values[:number]), None)
        if twice is not None:
            path = f"[{twice}].{field}"
            raise BadExitError(path, values[twice], "is listed twice", f"each exit needs its own {field}")
    return exits


def _exit(path: str, entry: object, outputs: Collection[str] | None) -> DeclaredExit:
    if not isinstance(entry, Mapping):
        raise BadExitError(path, entry, "is not an exit", "write {name, output, accuracy}")
    name, output, accuracy = (entry.get(key) for key in ("name", "output", "accuracy"))
    if not isinstance(name, str) or not name:
        raise BadExitError(f"{path}.name", name, "is not a name", "write a non-empty string")
    if not isinstance(output, str) or not output:
        raise BadExitError(f"{path}.output", output, "is not a name", "write a non-empty string")
    where = f"{path}.accuracy"
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
        raise BadAccuracyError(where, accuracy, "is not a number", "write a share between 0 and 1")
    if not 0 <= accuracy <= 1 or not isfinite(accuracy):
        raise BadAccuracyError(where, accuracy, "is not between 0 and 1", "write a share such as 0.93")
    if outputs is not None and output not in outputs:
        fix = f"its outputs are {', '.join(outputs)}"
        raise UnknownOutputError(f"{path}.output", output, "is not an output of the graph", fix)
    return DeclaredExit(name, output, float(accuracy))
