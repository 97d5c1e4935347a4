"""A backend that adds the state of a sequence to its requests, and keeps what the response has of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.sequences.settings import StateSettings
from edge_runtime.sequences.states import Sequence, SequenceStates
from edge_runtime.serving import Backend, PromptBackend
from edge_runtime.tensors import Contract


class SequencedBackend:
    """Serves a model with a state; without one, requests go to the source unchanged.

    The state is at this node. It is part of each request to the source, also on a hop, so that the next
    request of a sequence can take another route.

    settings: the current ones, None without a state; the same object until they change.
    """

    def __init__(
        self,
        source: Backend,
        settings: Callable[[], StateSettings | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.platform, self.statistics = source.platform, source.statistics
        self._source, self._settings, self._clock = source, settings, clock
        self._prompt = source if isinstance(source, PromptBackend) else None
        self._used: StateSettings | None = None
        self._states: SequenceStates | None = None
        self._contracts: tuple[Contract, StateSettings, Contract] | None = None

    @property
    def contract(self) -> Contract | None:
        """The source's contract without the tensors of the state."""
        contract, settings = self._source.contract, self._settings()
        if contract is None or settings is None:
            return contract
        known = self._contracts
        if known is None or known[0] is not contract or known[1] is not settings:
            inputs = {pair.input for pair in settings.pairs}
            outputs = {pair.output for pair in settings.pairs}
            without = Contract(
                tuple(t for t in contract.inputs if t.name not in inputs),
                tuple(t for t in contract.outputs if t.name not in outputs),
            )
            known = self._contracts = contract, settings, without
        return known[2]

    @property
    def message(self) -> str:
        """The source's message."""
        return self._source.message

    @property
    def sequences(self) -> int:
        """Number of sequences that are kept."""
        return 0 if self._states is None else len(self._states)

    def has(self, name: str) -> bool:
        """Whether the state of a sequence is kept here."""
        return self._states is not None and name in self._states

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """The source's response if it can give it without waiting; None for a model with a state."""
        return (
            self._prompt.at_once(request) if self._prompt is not None and self._settings() is None else None
        )

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """The source's response, without the outputs that are the state.

        A request that fails leaves the state as it was, so that it can be sent again. Raises BadRequest
        without a sequence, and as the source does.
        """
        settings = self._settings()
        if settings is None:
            return await self._source.infer(request)
        if not request.stream:
            raise BadRequest(
                "parameters.sequence_id: missing, but the model keeps a state between requests: send the "
                "number or name of a sequence, and sequence_start in its first request"
            )
        initial = {pair.input: pair.initial for pair in settings.pairs}
        states = self._of(settings)
        async with states.turn(request.stream, initial, starts=request.starts, ends=request.ends) as sequence:
            return await self._respond(request, settings, sequence)

    async def _respond(
        self, request: InferenceRequest, settings: StateSettings, sequence: Sequence
    ) -> InferenceResponse:
        contract = self.contract
        wanted = request.outputs or ([t.name for t in contract.outputs] if contract is not None else [])
        own = len(wanted)
        asked = replace(
            request,
            inputs={**request.inputs, **sequence.state},
            outputs=[*wanted, *(pair.output for pair in settings.pairs)],
            stream="",
        )
        response = await self._source.infer(asked)
        # A row of a batch must not keep the whole batch in memory.
        sequence.state = {
            pair.input: np.array(array)
            for pair, array in zip(settings.pairs, response.outputs[own:], strict=True)
        }
        return replace(response, outputs=response.outputs[:own])

    def _of(self, settings: StateSettings) -> SequenceStates:
        """The sequences under the current settings; those of another model are dropped."""
        if self._states is None or self._used is None or _differ(settings, self._used):
            self._states = SequenceStates(settings.most, settings.idle, self._clock)
        elif settings is not self._used:
            self._states.keep(settings.most, settings.idle)
        self._used = settings
        return self._states


def _differ(settings: StateSettings, before: StateSettings) -> bool:
    """Whether states cannot be carried over."""
    tensors = [[(p.output, p.input) for p in each.pairs] for each in (settings, before)]
    return settings.model != before.model or tensors[0] != tensors[1]
