"""The first requests of a service at this node: which inputs are kept, and when the model is measured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from edge_api.first_requests import FirstRequestsStatus, RequestProfile
from edge_api.objects import written
from edge_runtime.assignment import Spec
from edge_runtime.errors import EdgeError, InputsRefused
from edge_runtime.first_requests.kept_inputs import KeptInputs
from edge_runtime.first_requests.reports import request_profile
from edge_runtime.status import MESSAGE_LENGTH
from edge_runtime.tensors import Array, Tensor

_log = logging.getLogger(__name__)

FIRST_RETRY: Final = 15.0
"""Seconds from a failed attempt to the next; each further delay is twice as long."""
LAST_RETRY: Final = 1800.0
"""The longest of these delays."""
_DOUBLINGS: Final = 10


class Measures(Protocol):
    """Measures a model; see `Measurer`."""

    async def measure(
        self, model: str, shapes: Mapping[str, tuple[int, ...]], samples: bytes
    ) -> dict[str, Any]:
        """Returns the DeviceProfile."""


class FirstRequests:
    """Keeps inputs and measures as the Placement in use says.

    told: called when there is something new to report. jitter: from 0 to 1.
    """

    def __init__(
        self,
        told: Callable[[], None],
        kept: KeptInputs | None = None,
        jitter: Callable[[], float] = random.SystemRandom().random,
    ) -> None:
        self._told, self._jitter = told, jitter
        self._kept = KeptInputs() if kept is None else kept
        self._model, self._turn = "", ""
        self._attempts, self._message = 0, ""
        self._profile: RequestProfile | None = None
        self._changed = asyncio.Event()

    def use(self, spec: Spec) -> None:
        """Follows the Placement that was loaded. Forgets all inputs if it needs none."""
        if spec.model.digest != self._model:
            self._kept.clear()
            self._attempts, self._message, self._profile = 0, "", None
        self._model, self._turn = spec.model.digest, spec.first_requests or ""
        if not self._turn:
            self._kept.clear()
        self._changed.set()

    def add(self, spec: Spec, inputs: Sequence[Tensor], arrays: Mapping[str, Array]) -> None:
        """Keeps the inputs of a request that was answered, if they are needed."""
        wanted = self._turn and self._profile is None and spec.model.digest == self._model
        if wanted and self._kept.add(inputs, arrays) and len(self._kept) == 1:
            self._changed.set()
            self._told()

    def report(self) -> dict[str, Any] | None:
        """What the status says; None if the Placement has no inputs kept."""
        if not self._turn:
            return None
        found = FirstRequestsStatus(
            kept=len(self._kept), attempts=self._attempts, message=self._message, profile=self._profile
        )
        return written(found)

    async def run(self, measurer: Measures) -> None:
        """Measures when it is this node's turn and inputs are kept. Runs until cancelled."""
        while True:
            self._changed.clear()
            if self._turn == "Measure" and len(self._kept) and self._profile is None:
                await self._attempt(measurer)
            else:
                await self._changed.wait()

    async def _attempt(self, measurer: Measures) -> None:
        model = self._model
        _log.info("model %s is measured on the inputs of %d requests", model, len(self._kept))
        try:
            found = await measurer.measure(model, self._kept.shapes(), self._kept.file())
            profile = request_profile(found)
        except EdgeError as error:
            if model != self._model:
                return
            _log.warning("model %s is not measured on its requests: %s", model, error)
            self._attempts, self._message = self._attempts + 1, str(error)[:MESSAGE_LENGTH]
            if isinstance(error, InputsRefused):
                self._kept.clear()  # others may do
            self._told()
            await self._pause()
            return
        if model == self._model:
            self._profile, self._message = profile, ""
            self._kept.clear()
            self._told()

    async def _pause(self) -> None:
        """Returns when the next attempt is due, or the Placement has changed."""
        delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(self._attempts - 1, _DOUBLINGS))
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay * (0.75 + self._jitter() / 2)):
                await self._changed.wait()
