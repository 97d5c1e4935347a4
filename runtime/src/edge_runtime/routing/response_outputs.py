"""What a route's response consists of: its outputs by name, and which of them has a confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from edge_runtime.assignment import Route, returned
from edge_runtime.errors import BadTensor, CannotLoad
from edge_runtime.responses import confidence, has_classes, rowwise
from edge_runtime.tensors import Array, Tensor


class ResponseOutputs:
    """The outputs of a route's last stage, and those kept before it, with their names in the response.

    tensors: as the client sees them, in the order of a response to a request that names none.
    own: whether these are other outputs than the model's, which most exits use.
    """

    __slots__ = ("_classes", "_exit", "_in_order", "_places", "_selected", "own", "tensors")

    def __init__(
        self, tensors: Sequence[Tensor], places: Sequence[int], exit_: str = "", *, own: bool = False
    ) -> None:
        """places: the index of each tensor in the results: of the last stage, then what was kept."""
        self.tensors, self.own, self._exit = tuple(tensors), own, exit_
        self._selected = tuple(places)
        self._in_order = self._selected == tuple(range(len(places)))
        self._places = {t.name: place for t, place in zip(self.tensors, places, strict=True)}
        self._classes = tuple(self._places[t.name] for t in self.tensors if has_classes(t))

    @property
    def decisive(self) -> bool:
        """Whether exactly one output can have a confidence, which is that of the response."""
        return len(self._classes) == 1

    def has(self, names: Sequence[str]) -> bool:
        """Whether the route computes all these outputs."""
        return all(name in self._places for name in names) if names else True

    def check(self, names: Sequence[str]) -> None:
        """Raises BadTensor for a requested output that the route does not compute."""
        if not self.has(names):
            raise self._lacks(names)

    def select(self, results: Sequence[Array], names: Sequence[str]) -> Sequence[Array]:
        """The named outputs, by default all, of the results of the last stage.

        Raises BadTensor for an output that the route does not compute.
        """
        if not names:
            return results if self._in_order else [results[place] for place in self._selected]
        try:
            return [results[self._places[name]] for name in names]
        except KeyError:
            raise self._lacks(names) from None

    def confidence(self, results: Sequence[Array], inputs: Mapping[str, Array]) -> float | None:
        """The confidence of the only output that can have one; None if there are several, or none.

        results: of the last stage. inputs: of the request, which decide whether rows are those of the batch.
        """
        if len(self._classes) != 1:
            return None
        output = results[self._classes[0]]
        return confidence(output, items=rowwise(output, inputs.values()))

    def _lacks(self, names: Sequence[str]) -> BadTensor:
        lacking = next(name for name in names if name not in self._places)
        return BadTensor(
            f'outputs: "{lacking}" is not an output of exit {self._exit}, which responds now: request '
            f"{', '.join(self._places)}, or name no outputs for those of the exit that responds"
        )


NO_OUTPUTS: Final = ResponseOutputs((), ())
"""Of a part of a route, whose results are not a response."""


def response_outputs(route: Route, model: Sequence[Tensor], kept: Sequence[Tensor] = ()) -> ResponseOutputs:
    """What a route returns for a model with these outputs.

    kept: tensors that follow those of its stages in the results.

    Raises CannotLoad if they do not match those of the route's last slice, and those that stay where they
    were computed before.
    """
    remote = [stage for stage in route.stages if stage.address is not None]
    if remote and route.local is not None:
        kept = (*route.local.kept_tensors, *kept)
    last, wanted = (*returned(remote or route.stages), *kept), {t.name: t for t in model}
    made = {t.name: i for i, t in enumerate(last)}
    if route.outputs is not None:
        named = [(each.name, each.tensor) for each in route.outputs]
    elif len(last) == len(model):
        named = [(t.name, tensor.name) for t, tensor in zip(model, last, strict=True)]
    else:
        raise CannotLoad(
            f"the last stage returns {_listed(last)}, but the model has {_listed(model)}: "
            f"name the outputs of the response in outputs"
        )
    tensors, places = list[Tensor](), list[int]()
    for i, (name, tensor) in enumerate(named):
        if tensor not in made:
            raise CannotLoad(
                f'outputs[{i}].tensor: "{tensor}" is not an output of the last stage: use one of '
                f"{', '.join(made)}"
            )
        if any(name == before.name for before in tensors):
            raise CannotLoad(f'outputs[{i}].name: "{name}" is used twice: use it once')
        found = last[made[tensor]]
        if name in wanted and not _alike(found, wanted[name]):
            raise CannotLoad(
                f"the last stage returns {_listed([found])} as {name}, but the model's output is "
                f"{_listed([wanted[name]])}"
            )
        tensors.append(replace(found, name=name))
        places.append(made[tensor])
    return ResponseOutputs(tensors, places, route.exit, own=[t.name for t in tensors] != list(wanted))


def _alike(found: Tensor, wanted: Tensor) -> bool:
    return (found.datatype, found.shape) == (wanted.datatype, wanted.shape)


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{t.name} {t.datatype}{list(t.shape)}" for t in tensors)
