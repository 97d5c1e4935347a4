"""A backend that adds the input filter and the result cache to another one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, ParamSpec, Protocol, TypeVar

from prometheus_client import CollectorRegistry

from edge_runtime.errors import NotReady
from edge_runtime.memoization.distances import digest, sketch
from edge_runtime.memoization.input_filters import DROPPED, InputFilter
from edge_runtime.memoization.metrics import CacheCounts, FilterCounts
from edge_runtime.memoization.result_caches import HIT, JOINED, Key, ResultCache
from edge_runtime.memoization.settings import OFF, MemoizationSettings
from edge_runtime.memoization.shared_computations import SharedComputation
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.serving import Backend, PromptBackend
from edge_runtime.tensors import NUMPY_TYPES, Array, Contract

_log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")

# Bytes from which a lookup would block the event loop for a third of a millisecond.
_LONG_SKETCH: Final = 4 << 20
_LONG_DIGEST: Final = 3 << 17
_SHARE: Final = 0.5  # share of the remaining time to wait for the same computation of another request


class MemoizableBackend(Backend, Protocol):
    """A backend that states which of its responses can be reused, and when."""

    @property
    def memoization(self) -> MemoizationSettings:
        """The current settings; the same object until they change."""

    @property
    def accuracy(self) -> float:
        """Accuracy of a response that would be computed now."""

    @property
    def target(self) -> float | None:
        """The SLO latency in seconds; None without one."""

    def repeated(
        self, response: InferenceResponse, outcome: str, seconds: float, within: float | None
    ) -> None:
        """Counts a request whose response was reused, and whether it was `within` its time."""


class MemoizingBackend:
    """Responds from the filter or the cache if possible; other requests go to the source.

    key: a secret of this process, so that clients cannot construct two inputs with the same digest.
    """

    def __init__(
        self,
        source: MemoizableBackend,
        registry: CollectorRegistry,
        service: str,
        key: bytes,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.platform = source.platform
        self._source, self._registry, self._service = source, registry, service
        self._key, self._clock = key, clock
        self._settings = OFF
        self._prompt = source if isinstance(source, PromptBackend) else None
        self._said: tuple[str, str] | None = None
        self._filter: InputFilter | None = None
        self._cache: ResultCache | None = None
        self._computing: dict[Key, SharedComputation] = {}
        self._filter_counts: FilterCounts | None = None
        self._cache_counts: CacheCounts | None = None

    @property
    def contract(self) -> Contract | None:
        """The source's contract."""
        return self._source.contract

    @property
    def message(self) -> str:
        """The source's message."""
        return self._source.message

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """The source's response, or an earlier one with the parameter `filtered` or `cached`."""
        if self._source.memoization is not self._settings:
            self._adopt(self._source.memoization)
        if self._filter is not None:
            return await self._filtered(self._filter, request)
        if self._cache is not None:
            return await self._cached(self._cache, request, self._clock())
        return await self._source.infer(request)

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """The source's response if it can give it without waiting and nothing is reused; None if not."""
        if self._prompt is None or self._filter is not None or self._cache is not None:
            return None
        return self._prompt.at_once(request) if self._source.memoization is self._settings else None

    def _adopt(self, given: MemoizationSettings) -> None:
        """Applies new settings; a request in flight keeps the filter and the cache it started with."""
        before, wanted = self._settings.withheld, given.withheld
        why = (given.model, given.unrepeatable)
        if why != self._said and (given.filter, given.cache) != (wanted.filter, wanted.cache):
            self._said = why
            _log.info("responses are not reused: %s", given.unrepeatable)
        self._settings = given
        same = before.model == wanted.model
        if wanted.filter is None:
            self._filter = None
        elif self._filter is None or not same or wanted.filter != before.filter:
            self._filter = InputFilter(wanted.filter)
            self._filter_counts = self._filter_counts or FilterCounts(self._registry, self._service)
        if wanted.cache is None:
            self._cache = None
        elif self._cache is None or not same:
            self._cache, self._computing = ResultCache(wanted.cache), {}
            self._cache_counts = self._cache_counts or CacheCounts(self._registry, self._service)
        else:
            self._cache.use(wanted.cache)
        if self._cache_counts is not None:
            self._cache_counts.holds(self._cache.bytes if self._cache is not None else 0)

    async def _filtered(self, filter_: InputFilter, request: InferenceRequest) -> InferenceResponse:
        inputs, outputs, stream = request.inputs, request.outputs, request.stream
        start, cache, contract = self._clock(), self._cache, self._source.contract
        seen = await _aside(_LONG_SKETCH, inputs, sketch, inputs)
        verdict = filter_.judge(stream, seen, outputs, self._source.accuracy, start)
        assert self._filter_counts is not None
        self._filter_counts.input(verdict.outcome, verdict.distance)
        if verdict.response is not None:
            given = [] if verdict.outcome == DROPPED else verdict.response.outputs
            parameters = {"filtered": True, "distance": round(verdict.distance or 0.0, 4)}
            return self._again(verdict.response, given, parameters, "filtered", start, request.within)
        self._check(inputs, contract)
        if cache is not None:
            response = await self._cached(cache, request, start)
        else:
            response = await self._source.infer(replace(request, since=start))
        filter_.computed(stream, seen, outputs, response, start)
        return response

    async def _cached(self, cache: ResultCache, request: InferenceRequest, start: float) -> InferenceResponse:
        inputs, running, contract = request.inputs, self._computing, self._source.contract
        assert self._cache_counts is not None
        key = (await _aside(_LONG_DIGEST, inputs, digest, inputs, self._key), tuple(request.outputs))
        outcome, found = cache.find(key, self._source.accuracy, start)
        if found is None and (shared := running.get(key)) is not None:
            # The same is being computed. If that takes too long, there is still time to compute it here.
            limit = self._limit(request.within)
            left = None if limit is None else max(start + limit - self._clock(), 0.0)
            await shared.wait(None if left is None else _SHARE * left)
            outcome, found = cache.find(key, self._source.accuracy, start)
            outcome = JOINED if outcome == HIT else outcome
        self._cache_counts.lookup(outcome)
        if found is not None:
            return self._again(found, found.outputs, {"cached": True}, "cached", start, request.within)
        self._check(inputs, contract)
        computing = SharedComputation(self._computed(cache, key, replace(request, since=start), start))
        if running.setdefault(key, computing) is computing:
            computing.when_over(lambda: running.pop(key))
        return await computing.result()

    async def _computed(
        self, cache: ResultCache, key: Key, request: InferenceRequest, start: float
    ) -> InferenceResponse:
        response = await self._source.infer(request)
        cache.keep(key, response, start)
        if cache is self._cache and self._cache_counts is not None:
            self._cache_counts.holds(cache.bytes)
        return response

    def _again(
        self,
        response: InferenceResponse,
        outputs: Sequence[Array],
        parameters: Mapping[str, bool | float],
        outcome: str,
        start: float,
        within: float | None,
    ) -> InferenceResponse:
        seconds, limit = self._clock() - start, self._limit(within)
        self._source.repeated(response, outcome, seconds, within)
        met = limit is None or seconds <= limit
        told = {**response.parameters, **parameters, "deadline_met": met}
        return replace(response, outputs=outputs, parameters=told)

    def _limit(self, within: float | None) -> float | None:
        limits = [limit for limit in (within, self._source.target) if limit is not None]
        return min(limits, default=None)

    def _check(self, inputs: Mapping[str, Array], contract: Contract | None) -> None:
        """Raises NotReady if the model was replaced by one with another contract during the wait."""
        if self._source.memoization is not self._settings:
            self._adopt(self._source.memoization)  # so that no result of this model is kept for the old one
        now = self._source.contract
        if now is not contract and (now is None or not _fit(inputs, now)):
            raise NotReady("the model was replaced while the request waited: read its metadata again")


def _fit(inputs: Mapping[str, Array], contract: Contract) -> bool:
    known = contract.inputs_by_name
    return inputs.keys() == known.keys() and all(
        known[name].fits(array.shape) and NUMPY_TYPES[known[name].datatype] == array.dtype
        for name, array in inputs.items()
    )


async def _aside(
    long: int,
    inputs: Mapping[str, Array],
    look: Callable[Arguments, Found],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Found:
    """Computes here, or on a thread if the inputs are large."""
    if sum(array.nbytes for array in inputs.values()) < long:
        return look(*arguments, **named)
    return await asyncio.to_thread(look, *arguments, **named)
