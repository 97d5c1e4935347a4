"""Triton servers as a replica of the operator uses them: only the one that leads loads and unloads.

Triton has no versions by which it could refuse a late request. So:

- An unload is over within UNLOAD, counted by the monotonic clock from before it begins, and the Lease has to
  outlast that. A process that was stopped in between gives it up when it continues.
- A load can take longer than any Lease: the Lease has to outlast its beginning. A late one does no harm: the
  name and the mark of a tail tell its content, the mark has the term of the leader that loaded it, and the
  new leader unloads what no table uses (`effects.server_looks`).
- A tail that a later leader has loaded is not unloaded by an earlier one.

Cost: one request for the mark before each unload.
"""

from collections.abc import Mapping
from dataclasses import replace

from edge_operator import terms
from edge_operator.cluster import WRITE
from edge_operator.errors import TritonUnreachableError
from edge_operator.leadership import Leadership
from edge_operator.tritons.tail_models import Tail, marked_term
from edge_operator.tritons.triton import UNLOAD, Arrays, Opener, Timed, Triton


class FencedTriton:
    """`Triton` that begins no load and no unload unless this replica leads for long enough."""

    def __init__(self, triton: Triton, leadership: Leadership) -> None:
        self._triton, self._leadership = triton, leadership

    def ready(self, address: str) -> frozenset[str]:
        """Returns the names of the models that are ready."""
        return self._triton.ready(address)

    def parameters(self, address: str, name: str) -> Mapping[str, str]:
        """Returns the parameters in the configuration of a model; empty if it is not loaded."""
        return self._triton.parameters(address, name)

    def load(self, tail: Tail, onnx: Opener) -> None:
        """Loads a slice, marked with the term of this leader."""
        self._check(WRITE)
        self._triton.load(replace(tail, term=str(self._leadership.term or "")), onnx)

    def unload(self, address: str, name: str) -> None:
        """Unloads a model, unless a later leader has loaded it."""
        loaded_in = terms.read(marked_term(self._triton.parameters(address, name)))
        own = self._leadership.term
        if loaded_in is not None and own is not None and own.is_before(loaded_in):
            raise TritonUnreachableError(
                f"{name} at {address}: loaded in term {loaded_in.number} of the Lease, which follows term "
                f"{own.number} of this replica: it is left to the replica that leads"
            )
        self._check(UNLOAD)
        self._triton.unload(address, name)

    def control_open(self, address: str) -> bool:
        """Whether the server accepts model control without a key."""
        return self._triton.control_open(address)

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        """Measures a loaded model."""
        return self._triton.timed(address, name, feeds, runs)

    def _check(self, seconds: float) -> None:
        self._leadership.check(seconds)
