"""The models of all services of a process, as the transports see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from edge_runtime.errors import NotReady, UnknownModel, Withdrawn
from edge_runtime.json_values import Json
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.serving import Service
from edge_runtime.tensors import Contract

_MOST_NAMED = 10


class ServedModels:
    """Finds the service of each model.

    settled: whether the process has loaded, or refused, what it was to serve at its start.
    stuck: why requests wait too long; empty if they do not.
    known: whether it is known which services the process is to serve.
    """

    def __init__(
        self, settled: Callable[[], bool], stuck: Callable[[], str], known: Callable[[], bool]
    ) -> None:
        self._settled, self._stuck, self._known = settled, stuck, known
        self._services: dict[str, Service] = {}
        self.refusals: Mapping[str, str] = {}
        """Why requests are refused, by service that is not served for this reason."""
        self._draining = False

    def add(self, service: Service) -> None:
        """Serves one more service."""
        self._services[service.name] = service

    def remove(self, name: str) -> None:
        """Serves a service no longer."""
        del self._services[name]

    @property
    def draining(self) -> bool:
        """Whether the process is shutting down."""
        return self._draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._draining = draining
        for service in self._services.values():
            service.draining = draining

    @property
    def ready(self) -> bool:
        """Whether each model is settled: a request to it gets a response, or an error that says why not."""
        return self._settled() and not self._draining and not self._stuck()

    def serves(self, model: str) -> bool:
        """Whether a service, refused or not, or an intermediate slice has this name."""
        return (
            model in self._services
            or model in self.refusals
            or any(each.serves(model) for each in self._services.values())
        )

    def check(self, model: str, version: str = "") -> None:
        """Raises UnknownModel for a name or version that is not served, and NotReady before that is known."""
        self._of(model).check(model, version)

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether a request to the model would get a response soon. Raises UnknownModel."""
        return model not in self.refusals and self._of(model).model_ready(model, version)

    def ask(self, model: str, request: InferenceRequest) -> Awaitable[InferenceResponse]:
        """Response of a checked model. Raises DeadlinePassed after the client's timeout."""
        return self._of(model).ask(model, request)

    def at_once(self, model: str, request: InferenceRequest) -> InferenceResponse | None:
        """Response of a checked model that needs no waiting; None if it has to be awaited by `ask`."""
        return self._of(model).at_once(model, request)

    def contract(self, model: str, version: str = "") -> Contract:
        """Contract to validate a request by. Raises UnknownModel, and NotReady before there is one."""
        return self._of(model).contract(model, version)

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Names, datatypes and shapes."""
        return self._of(model).metadata(model, version)

    def statistics(self, model: str = "", version: str = "") -> list[dict[str, Json]]:
        """The statistics of a model, or of all without a name, in Triton's form. Raises UnknownModel."""
        services = [self._of(model)] if model else self._services.values()
        return [found for each in services for found in each.statistics(model, version)]

    def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """The repository index of all services."""
        return [entry for each in self._services.values() for entry in each.index(only_ready=only_ready)]

    def _of(self, model: str) -> Service:
        found = self._services.get(model)
        if found is None:
            found = next((each for each in self._services.values() if each.serves(model)), None)
        if found is None and model in self.refusals:
            raise Withdrawn(self.refusals[model])
        if found is None and not self._known():
            raise NotReady(f'model "{model[:80]}": the Placements of this node have not arrived yet: retry')
        if found is None:
            names = sorted(self._services)
            more = f" or {len(names) - _MOST_NAMED} others" if len(names) > _MOST_NAMED else ""
            fix = f"request {', '.join(names[:_MOST_NAMED])}{more}" if names else "no service is placed here"
            raise UnknownModel(f'Request for unknown model "{model[:80]}": it is not served here: {fix}')
        return found
