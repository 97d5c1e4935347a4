"""What both transports share: the backend of a model, its readiness and its protocol metadata."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Final, Protocol, runtime_checkable

from edge_runtime.errors import DeadlinePassed, NotReady, UnknownModel
from edge_runtime.json_values import Json
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse, reused
from edge_runtime.tensors import Contract, batch_size

SERVER: Final = "edge-runtime"
VERSION: Final = version("edge-runtime")
MODEL_VERSION: Final = "1"
_NONE_YET: Final = "no placement has arrived yet"
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "sequence",
    "statistics",
    "system_shared_memory",
)
"""The extensions of Triton that are implemented, as server metadata names them."""


class Backend(Protocol):
    """Computes responses: a route table or a standalone model."""

    platform: str
    statistics: ModelStatistics

    @property
    def contract(self) -> Contract | None:
        """Contract that requests are validated against; None before anything is loaded."""

    @property
    def message(self) -> str:
        """Why nothing is loaded."""

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Responds within the timeout if possible; a dropped input gets a response without outputs."""


@runtime_checkable
class PromptBackend(Backend, Protocol):
    """A backend that can give some responses without waiting."""

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """The response; None, with nothing counted, if it has to be awaited by `infer`."""


class Models(Protocol):
    """The models that the transports serve: one service's, or those of all services of a process."""

    draining: bool

    @property
    def ready(self) -> bool:
        """Whether the process is to receive requests."""

    def serves(self, model: str) -> bool:
        """Whether a model has this name."""

    def check(self, model: str, version: str = "") -> None:
        """Raises UnknownModel for a name or version that is not served, and NotReady before that is known."""

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether a request to the model would get a response soon. Raises UnknownModel."""

    def ask(self, model: str, request: InferenceRequest) -> Awaitable[InferenceResponse]:
        """Response of a checked model. Raises DeadlinePassed after the client's timeout."""

    def at_once(self, model: str, request: InferenceRequest) -> InferenceResponse | None:
        """Response of a checked model that needs no waiting; None if it has to be awaited by `ask`."""

    def contract(self, model: str, version: str = "") -> Contract:
        """Contract to validate a request by. Raises UnknownModel, and NotReady before there is one."""

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Names, datatypes and shapes."""

    def statistics(self, model: str = "", version: str = "") -> list[dict[str, Json]]:
        """The statistics of a model, or of all without a name, in Triton's form. Raises UnknownModel."""

    def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """The repository index."""


def _nothing() -> Mapping[str, Backend]:
    return {}


def _never() -> str:
    return ""


class Service:
    """One model by name with its backend, and the slices that this node runs for other entry nodes."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        intermediates: Callable[[], Mapping[str, Backend]] = _nothing,
        stuck: Callable[[], str] = _never,
    ) -> None:
        """intermediates: the current ones by model name. stuck: why requests wait too long; empty if not."""
        self.name, self.backend, self._intermediates, self._stuck = name, backend, intermediates, stuck
        self._prompt = backend if isinstance(backend, PromptBackend) else None
        self.draining = False
        self.refusal = ""  # why requests are refused although the model is loaded

    @property
    def ready(self) -> bool:
        """Whether a request would get a response soon."""
        return (
            self.backend.contract is not None and not self.draining and not self.refusal and not self._stuck()
        )

    def serves(self, model: str) -> bool:
        """Whether this is the service's name or that of one of its intermediate slices."""
        return model == self.name or model in self._intermediates()

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether a request to the model would get a response soon. Raises UnknownModel."""
        self.check(model, version)
        return self.ready

    def check(self, model: str, version: str = "") -> None:
        """Raises UnknownModel for a name or version that is not served."""
        if not self.serves(model):
            raise UnknownModel(
                f'Request for unknown model "{model[:80]}": it is not served here: request {self.name}'
            )
        if version not in ("", MODEL_VERSION):
            raise UnknownModel(
                f'model {model} has no version "{version[:80]}": request version {MODEL_VERSION} or none'
            )

    def answering(self, model: str) -> Backend:
        """Backend of a checked model. Raises UnknownModel if an intermediate slice was removed since."""
        if model == self.name:
            return self.backend
        self.check(model)
        return self._intermediates()[model]

    def ask(self, model: str, request: InferenceRequest) -> Awaitable[InferenceResponse]:
        """Response of a checked model. Raises DeadlinePassed after the client's timeout."""
        return _counted(self.answering(model), request)

    def at_once(self, model: str, request: InferenceRequest) -> InferenceResponse | None:
        """Response of a checked model that needs no waiting; None if it has to be awaited by `ask`."""
        prompt = self._prompt
        if prompt is None or model != self.name:
            return None
        start = time.perf_counter()
        try:
            response = prompt.at_once(request)
        except Exception:
            prompt.statistics.failed(time.perf_counter() - start)
            raise
        if response is not None:
            _count(prompt, request, response, time.perf_counter() - start)
        return response

    def contract(self, model: str, version: str = "") -> Contract:
        """Contract to validate a request by. Raises UnknownModel, and NotReady before there is one."""
        self.check(model, version)
        backend = self.answering(model)
        contract = backend.contract
        if contract is None:
            why = backend.message or _NONE_YET
            raise NotReady(f"model {model} is not ready: {why}")
        if self.refusal:
            raise NotReady(f"model {model} is not served: {self.refusal}")
        return contract

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Names, datatypes and shapes; the same for all routes."""
        contract = self.contract(model, version)
        return {
            "name": model,
            "versions": [MODEL_VERSION],
            "platform": self.answering(model).platform,
            "inputs": [t.metadata() for t in contract.inputs],
            "outputs": [t.metadata() for t in contract.outputs],
        }

    def statistics(self, model: str = "", version: str = "") -> list[dict[str, Json]]:
        """The statistics of a model, or of all without a name, in Triton's form. Raises UnknownModel."""
        if model:
            self.check(model, version)
        names = [model] if model else [self.name, *self._intermediates()]
        return [self.answering(name).statistics.document(name, MODEL_VERSION) for name in names]

    def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """The repository index: the model and the intermediate slices, and whether they are ready."""
        if self.ready:
            names = [self.name, *self._intermediates()]
            return [{"name": n, "version": MODEL_VERSION, "state": "READY", "reason": ""} for n in names]
        if only_ready:
            return []
        why = "shutting down" if self.draining else self.refusal or self._stuck() or self.backend.message
        return [
            {"name": self.name, "version": MODEL_VERSION, "state": "UNAVAILABLE", "reason": why or _NONE_YET}
        ]


async def _counted(backend: Backend, request: InferenceRequest) -> InferenceResponse:
    """The backend's response, which its statistics count."""
    start = time.perf_counter()
    try:
        asked = backend.infer(request) if request.within is None else _within(backend, request)
        response = await asked
    except BaseException:
        backend.statistics.failed(time.perf_counter() - start)
        raise
    _count(backend, request, response, time.perf_counter() - start)
    return response


def _count(backend: Backend, request: InferenceRequest, response: InferenceResponse, seconds: float) -> None:
    if reused(response):
        backend.statistics.reused(seconds)
        return
    contract = backend.contract
    count = batch_size(contract.inputs, request.inputs) if contract is not None else 1
    backend.statistics.succeeded(seconds, count)


async def _within(backend: Backend, request: InferenceRequest) -> InferenceResponse:
    try:
        async with asyncio.timeout(request.within) as limit:
            return await backend.infer(request)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlinePassed(
            f"no response within the request's timeout of {request.within:g} s: use a longer one or retry"
        ) from None
