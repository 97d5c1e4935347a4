"""Divides the requests of a service between its current revision and a candidate, each as a whole.

The candidate is a service of its own at this node, with its own tables, sessions, counters and tails. A
request is answered by one of the two. If the candidate cannot answer, the current revision does, also if the
candidate rejects inputs that the current revision accepts, which counts as an error of the candidate.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from edge_api.placements import PlacedCandidate
from edge_runtime.errors import BadRequest, CannotAnswer, EdgeError, ModelFailed
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse, reused
from edge_runtime.sequences.backends import SequencedBackend
from edge_runtime.status import Comparisons
from edge_runtime.tensors import Array, Contract

_log = logging.getLogger(__name__)

RELATIVE: Final = 0.01
"""Relative difference up to which outputs of two revisions agree."""
_ABSOLUTE: Final = 1e-4
_PATIENCE: Final = 10.0
"""Seconds after which a computation of the candidate for comparison is given up."""
REVISION: Final = "revision"
"""The response parameter that names the candidate, in its responses."""


class Candidate(Protocol):
    """A candidate at this node."""

    backend: SequencedBackend

    @property
    def digest(self) -> str:
        """Digest of the model that it has loaded; empty while it cannot answer."""

    def count_rejection(self) -> None:
        """Counts a request that it rejected and the current revision answered: it ended with an error."""


class RevisionedBackend:
    """The backend of a service. Without a candidate, it is the one of the current revision.

    statistics: of the service, also of requests that the candidate answers.
    comparisons: those of the candidate that was compared last.
    """

    def __init__(
        self,
        own: SequencedBackend,
        placed: Callable[[], PlacedCandidate | None],
        find: Callable[[str], Candidate | None],
        *,
        idle: Callable[[], bool],
        counted: Callable[[str], None] = lambda _: None,
        chance: Callable[[], float] = random.SystemRandom().random,
    ) -> None:
        """placed: what the table in use tells of a candidate. find: by the name of its service.

        idle: whether the node computes nothing. counted: takes the outcome of a comparison: agree, differ or
        failed. chance: uniform in [0, 1).
        """
        self.own, self.comparisons = own, Comparisons()
        self.platform, self.statistics = own.platform, own.statistics
        self._placed, self._find, self._idle, self._counted = placed, find, idle, counted
        self._chance = chance
        self._comparing: asyncio.Task[None] | None = None

    @property
    def contract(self) -> Contract | None:
        """Of the current revision. A candidate with another one is not used."""
        return self.own.contract

    @property
    def message(self) -> str:
        """Of the current revision."""
        return self.own.message

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """The response of the current revision if it needs no waiting; None while there is a candidate."""
        return self.own.at_once(request) if self._placed() is None else None

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """The response of one revision. Raises as the current one does."""
        placed, candidate = self._candidate()
        if placed is None or candidate is None:
            return await self.own.infer(request)
        if self._goes_to(candidate.backend, placed, request):
            try:
                response = await candidate.backend.infer(request)
            except (BadRequest, CannotAnswer, ModelFailed) as error:
                if request.stream:
                    raise  # its state is at the candidate
                return await self._in_its_place(candidate, placed.service, request, error)
            return replace(response, parameters={**response.parameters, REVISION: placed.service})
        response = await self.own.infer(request)
        if 100 * self._chance() < placed.shadow and self._is_compared(request, response):
            self._compare(candidate, placed.service, request, response)
        return response

    async def _in_its_place(
        self, candidate: Candidate, name: str, request: InferenceRequest, error: EdgeError
    ) -> InferenceResponse:
        """The response of the current revision to a request that the candidate could not answer."""
        response = await self.own.infer(request)
        if isinstance(error, BadRequest):  # the request is right, since the current revision accepts it
            candidate.count_rejection()
        _log.warning("%s: the current revision answers in its place: %s", name, error)
        return response

    def close(self) -> None:
        """Ends a comparison that is under way."""
        if self._comparing is not None:
            self._comparing.cancel()

    def _candidate(self) -> tuple[PlacedCandidate | None, Candidate | None]:
        placed = self._placed()
        found = self._find(placed.service) if placed is not None else None
        if placed is None or found is None or found.digest != placed.digest:
            return placed, None
        return placed, found if _are_same(self.own.contract, found.backend.contract) else None

    def _goes_to(
        self, candidate: SequencedBackend, placed: PlacedCandidate, request: InferenceRequest
    ) -> bool:
        """Whether the candidate answers. A sequence stays with the revision that has its state."""
        if request.stream and not request.starts:
            return candidate.has(request.stream)
        return 100 * self._chance() < placed.weight

    def _is_compared(self, request: InferenceRequest, response: InferenceResponse) -> bool:
        """Whether the outputs can be compared: computed for this request alone, while the node is idle."""
        under_way = self._comparing is not None and not self._comparing.done()
        return not under_way and not request.stream and not reused(response) and self._idle()

    def _compare(
        self, candidate: Candidate, name: str, request: InferenceRequest, response: InferenceResponse
    ) -> None:
        # Inputs in shared memory are the client's again once it has its response.
        inputs = {each: np.array(array) for each, array in request.inputs.items()}
        outputs = [np.array(array) for array in response.outputs]
        copied = replace(request, inputs=inputs, within=None, since=None, reusable=False)
        self._comparing = asyncio.create_task(self._compared(candidate, name, copied, outputs))

    async def _compared(
        self,
        candidate: Candidate,
        name: str,
        request: InferenceRequest,
        outputs: Sequence[Array],
    ) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                response = await candidate.backend.infer(request)
        except Exception as error:  # whatever it fails by, the client has its response
            if isinstance(error, BadRequest):
                candidate.count_rejection()
            _log.warning("%s: a request for comparison failed: %s", name, error)
            self._counted("failed")
            return
        if self.comparisons.candidate != name:
            self.comparisons = Comparisons(name)
        agree = agrees(outputs, response.outputs)
        self.comparisons.compared += 1
        self.comparisons.agreed += agree
        self._counted("agree" if agree else "differ")


def _are_same(ours: Contract | None, theirs: Contract | None) -> bool:
    """Whether requests and responses of two models have the same form."""
    return ours is theirs or (
        ours is not None
        and theirs is not None
        and (ours.inputs, ours.outputs, ours.outputs_by_name)
        == (theirs.inputs, theirs.outputs, theirs.outputs_by_name)
    )


def agrees(ours: Sequence[Array], theirs: Sequence[Array]) -> bool:
    """Whether outputs are the same, numbers up to RELATIVE of the greatest of the output."""
    return len(ours) == len(theirs) and all(map(_agree, ours, theirs))


def _agree(ours: Array, theirs: Array) -> bool:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if ours.dtype.kind not in "fiu" or not ours.size:
        return bool(np.array_equal(ours, theirs))
    wide, others = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        scale = float(np.nanmax(np.abs(wide))) if not np.isnan(wide).all() else 0.0
        near = np.abs(wide - others) <= _ABSOLUTE + RELATIVE * scale
    return bool((near | (np.isnan(wide) & np.isnan(others))).all())
