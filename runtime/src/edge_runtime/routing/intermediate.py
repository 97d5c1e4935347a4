"""Slices that this node runs as the intermediate node of other entry nodes, and the next hop behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_runtime.codecs.contracts import without_range
from edge_runtime.errors import HopFailed, HopLate, LinkBusy
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.metrics import Metrics
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.loaded_tables import LoadedIntermediate
from edge_runtime.tensors import Array, Contract


class IntermediateBackend:
    """One intermediate slice, served as a model of the Open Inference Protocol.

    It shares the inference queue with this node's own service. It has neither fallback nor breaker: the entry
    node has both, and knows the other routes.
    """

    platform = "edge-intelligence"
    message = ""

    def __init__(
        self,
        loaded: LoadedIntermediate,
        queue: ServiceQueue,
        metrics: Metrics,
        clock: Callable[[], float],
        latency: float,
    ) -> None:
        """latency: the deadline in seconds of requests without a timeout."""
        self._loaded, self._queue, self._metrics = loaded, queue, metrics
        self._clock, self._latency = clock, latency
        self.statistics = ModelStatistics()

    @property
    def contract(self) -> Contract | None:
        """The inputs of the slice at this node and the outputs of the last stage."""
        return self._loaded.contract

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Returns the last stage's outputs within the remaining time of the request.

        Raises Overloaded before anything is run, and CannotAnswer if the next hop fails or is late.
        """
        loaded, start = self._loaded, self._clock()
        left = self._latency if request.within is None else request.within
        until = start + left
        least = self._queue.least(loaded.session, request.inputs)
        self._queue.admit(least, left, self._queue.wait_before(until, least))
        try:
            results = await self._queue.run(
                loaded.session,
                dict(request.inputs),
                None,
                until,
                priority=request.priority,
                ran=self.statistics.ran,
            )
        finally:
            self._queue.leave()
        seconds = self._clock() - start
        loaded.stats.add(seconds)
        self._metrics.stage(loaded.slice.model, seconds)
        if loaded.hop is not None:
            results = await self._on(loaded.hop, results, until)
        by_name = {t.name: array for t, array in zip(loaded.contract.outputs, results, strict=True)}
        outputs = [by_name[name] for name in request.outputs] if request.outputs else results
        return InferenceResponse(outputs, {"slice": loaded.slice.model})

    async def _on(self, hop: Hop, activations: Sequence[Array], until: float) -> list[Array]:
        begin, outcome = self._clock(), "failed"
        here, beyond = self._loaded.slice.stages[:2]
        made = self._loaded.session.outputs
        unfit = without_range(made, activations)
        if unfit is not None:
            raise HopFailed(f"{self._loaded.slice.model}: {unfit} has values that are not finite")
        known = {t.name: array for t, array in zip(made, activations, strict=True)}
        try:
            results = await hop.infer([known[t.name] for t in beyond.slice.inputs], until - begin)
            outcome = "ok"
            return [*results, *(known[name] for name in here.kept or ())]
        except (HopLate, LinkBusy) as error:
            outcome = "late" if isinstance(error, HopLate) else "busy"
            raise
        finally:
            self._metrics.hop(self._loaded.slice.model, outcome, self._clock() - begin)
            self.statistics.hopped(self._clock() - begin)
