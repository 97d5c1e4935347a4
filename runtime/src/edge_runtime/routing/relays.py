"""What this node runs for other entry nodes: a slice by a name of its own, and the next hop behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_runtime.codecs.contracts import without_range
from edge_runtime.errors import HopFailed, HopLate, LinkBusy
from edge_runtime.inference.runners import Runner
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.routing.tables import LoadedRelay
from edge_runtime.routing.upstream import Hop
from edge_runtime.tensors import Array, Contract


class RelayBackend:
    """One relay as a model of the Open Inference Protocol.

    It has the queue of this node's inferences in common with the service itself. There is no insurance and
    no breaker here: the entry node has both, and knows what else could answer.
    """

    platform = "edge-intelligence"
    message = ""

    def __init__(
        self,
        relay: LoadedRelay,
        runner: Runner,
        metrics: Metrics,
        clock: Callable[[], float],
        latency: float,
    ) -> None:
        """latency: seconds that a request without a time of its own gets."""
        self._relay, self._runner, self._metrics = relay, runner, metrics
        self._clock, self._latency = clock, latency

    @property
    def contract(self) -> Contract | None:
        """What the slice here takes, and what the last stage gives."""
        return self._relay.contract

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """The last stage's outputs, within what is left of the request's time.

        Raises QueueFull before anything is run, CannotAnswer when the next hop cannot or is late.
        """
        relay, start = self._relay, self._clock()
        until = start + (self._latency if request.within is None else request.within)
        self._runner.admit(relay.stats.seconds)
        try:
            results = await self._runner.run(relay.session, dict(request.inputs), None, until)
        finally:
            self._runner.leave()
        seconds = self._clock() - start
        relay.stats.add(seconds)
        self._metrics.stage(relay.relay.model, seconds)
        if relay.hop is not None:
            results = await self._on(relay.hop, results, until)
        by_name = {t.name: array for t, array in zip(relay.contract.outputs, results, strict=True)}
        return InferenceResponse([by_name[name] for name in request.outputs], {"relay": relay.relay.model})

    async def _on(self, hop: Hop, activations: Sequence[Array], until: float) -> list[Array]:
        begin, outcome = self._clock(), "failed"
        unfit = without_range(self._relay.session.outputs, activations)
        if unfit is not None:
            raise HopFailed(f"{self._relay.relay.model}: {unfit} has values that are not finite")
        try:
            results = await hop.infer(activations, until - begin)
            outcome = "ok"
            return results
        except (HopLate, LinkBusy) as error:
            outcome = "late" if isinstance(error, HopLate) else "busy"
            raise
        finally:
            self._metrics.hop(self._relay.relay.model, outcome, self._clock() - begin)
