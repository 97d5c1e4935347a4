"""Triton servers as a replica of the operator uses them: only the one that leads loads and unloads."""

from collections.abc import Callable, Mapping

from edge_operator.errors import NotLeadingError, TritonUnreachableError
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import Arrays, Opener, Timed, Triton


class FencedTriton:
    """`Triton` that begins no load and no unload unless `may_write` returns."""

    def __init__(self, triton: Triton, may_write: Callable[[], None]) -> None:
        """may_write: raises NotLeadingError if this replica does not lead."""
        self._triton, self._may_write = triton, may_write

    def ready(self, address: str) -> frozenset[str]:
        """Returns the names of the models that are ready."""
        return self._triton.ready(address)

    def parameters(self, address: str, name: str) -> Mapping[str, str]:
        """Returns the parameters in the configuration of a model; empty if it is not loaded."""
        return self._triton.parameters(address, name)

    def load(self, tail: Tail, onnx: Opener) -> None:
        """Loads a slice."""
        self._check()
        self._triton.load(tail, onnx)

    def unload(self, address: str, name: str) -> None:
        """Unloads a model."""
        self._check()
        self._triton.unload(address, name)

    def control_open(self, address: str) -> bool:
        """Whether the server accepts model control without a key."""
        return self._triton.control_open(address)

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        """Measures a loaded model."""
        return self._triton.timed(address, name, feeds, runs)

    def _check(self) -> None:
        try:
            self._may_write()
        except NotLeadingError as error:
            raise TritonUnreachableError(str(error)) from error
