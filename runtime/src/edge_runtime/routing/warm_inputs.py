"""One sample of a model's inputs, on which its sessions are warmed up in place of zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_runtime.errors import BadRequest
from edge_runtime.samples.reading import file_in_memory, read_npz
from edge_runtime.tensors import Array, Tensor


class WarmInputs:
    """The sample in a file of the model store."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    @classmethod
    def read(cls, data: bytes, inputs: Sequence[Tensor]) -> WarmInputs:
        """Reads the file for a model with these inputs. Raises BadRequest if it does not fit them."""
        known = {tensor.name: tensor for tensor in inputs}

        def tensor(name: str) -> Tensor:
            if name not in known:
                raise BadRequest(f"{name} is not an input of the model")
            return known[name]

        with file_in_memory(data) as path:
            return cls(read_npz(path, tensor))

    def of(self, inputs: Sequence[Tensor]) -> dict[str, Array] | None:
        """The inputs of a slice; None if they are not all inputs of the model, as behind a cut."""
        found = {t.name: self._arrays[t.name] for t in inputs if t.name in self._arrays}
        fits = len(found) == len(inputs) and all(t.fits(found[t.name].shape) for t in inputs)
        return found if fits else None
