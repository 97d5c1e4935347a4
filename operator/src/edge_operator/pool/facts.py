"""What the model store and Triton servers told: facts, each found by the need that it meets.

A plan reads facts and names the needs that no fact meets yet. The loop of its pool has them met, and plans
again. A fact stays as long as a plan uses it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar, cast

from edge_api import reasons
from edge_api.model_sources import ModelSource, Validation
from edge_api.tensors import Slice
from edge_operator.conditions import Step
from edge_operator.errors import StoreError
from edge_operator.keys import ServiceKey, SliceKey
from edge_operator.store_answers import CodecAccuracies, DeviceProfile, LayerGraph, ModelCard, Progress
from edge_operator.tritons.server_profiles import Failed, Subject

Value = TypeVar("Value")
Values = TypeVar("Values", covariant=True)


class Need(ABC, Generic[Values]):
    """Something that a plan has to know. Equal needs are met once.

    Attributes:
        step: The step of a service's plan that waits for it.
    """

    step: ClassVar[Step]

    @property
    @abstractmethod
    def doing(self) -> str:
        """What is done to meet it."""


@dataclass(frozen=True, slots=True)
class CardOf(Need[ModelCard]):
    """The metadata of the model at an address, registered for the service's namespace.

    after: the Job that put it into the store; empty if none did.
    """

    step: ClassVar[Step] = reasons.MODEL_READY
    service: ServiceKey
    source: ModelSource
    after: str = ""

    @property
    def doing(self) -> str:
        return f"the model store fetches {self.source.storage_uri}"


@dataclass(frozen=True, slots=True)
class AccuraciesOf(Need[CodecAccuracies]):
    """The accuracies of a model's exits with each codec, on validation data."""

    step: ClassVar[Step] = reasons.MODEL_READY
    namespace: str
    digest: str
    exits: tuple[tuple[str, tuple[str, ...], float | None], ...]
    validation: Validation
    card: ModelCard = field(compare=False)
    after: str = ""

    @property
    def doing(self) -> str:
        return f"the model store reads {self.validation.storage_uri}"


@dataclass(frozen=True, slots=True)
class ProgressOf(Need[Progress | None]):
    """How far the model store is with a file; None if it does not receive it now."""

    step: ClassVar[Step] = reasons.MODEL_READY
    namespace: str
    address: str

    @property
    def doing(self) -> str:
        return f"the model store receives {self.address}"


@dataclass(frozen=True, slots=True)
class LayersOf(Need[LayerGraph | None]):
    """The layers of a model; None if the store does not know the model, or is of a version without layers."""

    step: ClassVar[Step] = reasons.PROFILED
    namespace: str
    digest: str

    @property
    def doing(self) -> str:
        return "the model store reads the model's layers"


@dataclass(frozen=True, slots=True)
class ProfileOf(Need[DeviceProfile | None]):
    """The measurements of a model on a device class; None if the store has none.

    after: the Job that ended, after which the store may have more than before; empty if none did.
    """

    step: ClassVar[Step] = reasons.PROFILED
    namespace: str
    digest: str
    selection: str
    device_class: str
    after: str = ""

    @property
    def doing(self) -> str:
        return f"the model store reads the measurements of device class {self.device_class}"


@dataclass(frozen=True, slots=True)
class EstimateOf(Need[DeviceProfile | None]):
    """Estimated times of a model on a device class; None if no other model was measured there.

    exits: the outputs of the service's exits and the shapes that it is estimated for.
    """

    step: ClassVar[Step] = reasons.PROFILED
    namespace: str
    digest: str
    selection: str
    device_class: str
    exits: frozenset[str]

    @property
    def doing(self) -> str:
        return f"the model store estimates the times on device class {self.device_class}"


@dataclass(frozen=True, slots=True)
class ProfileThrough(Need[DeviceProfile | Failed | None]):
    """The measurements of a model by requests to a Triton server; None while they are under way."""

    step: ClassVar[Step] = reasons.PROFILED
    server: str
    digest: str
    selection: str
    exits: frozenset[str]
    subject: Subject = field(compare=False)

    @property
    def doing(self) -> str:
        return f"measuring on Triton server {self.subject.server.name}"


@dataclass(frozen=True, slots=True)
class SliceOf(Need[Slice]):
    """A slice of a model, as a file of the store."""

    step: ClassVar[Step] = reasons.PLACED
    namespace: str
    key: SliceKey

    @property
    def doing(self) -> str:
        return "the model store makes the slices"


@dataclass(frozen=True, slots=True)
class TailsAt(Need[frozenset[str]]):
    """So many tails of a service at a Triton server, which are to be loaded or seen there."""

    step: ClassVar[Step] = reasons.PLACED
    address: str
    count: int

    @property
    def doing(self) -> str:
        return f"loading {self.count} tail{'s' if self.count > 1 else ''} of this service"


@dataclass(frozen=True, slots=True)
class Fact:
    """What met a need, or why it could not be met."""

    value: object = None
    error: StoreError | None = None


Facts = Mapping[Need[object], Fact]


class NotKnownError(Exception):
    """No fact meets the need yet. Raised and caught within a plan."""

    def __init__(self, need: Need[object]) -> None:
        super().__init__(need.doing)
        self.need = need


class Lookups:
    """The facts that one plan reads. `used` has the needs for which it looked, met or not."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.used: set[Need[object]] = set()

    def get(self, need: Need[Value]) -> Value:
        """Returns what meets a need. Raises NotKnownError before it is known, StoreError if that failed."""
        self.used.add(need)
        fact = self._facts.get(need)
        if fact is None:
            raise NotKnownError(need)
        if fact.error is not None:
            raise StoreError(fact.error.reason, str(fact.error))
        return cast("Value", fact.value)

    def get_all(self, needs: Iterable[Need[Value]]) -> dict[Need[Value], Value]:
        """Returns what meets each need. All of them are named before the first is waited for."""
        wanted = list(needs)
        self.used.update(wanted)
        return {need: self.get(need) for need in wanted}

    def tried(
        self, needs: Iterable[Need[Value]]
    ) -> tuple[dict[Need[Value], Value], dict[Need[Value], StoreError]]:
        """Returns what meets each need, and why others could not be met. Raises NotKnownError."""
        wanted = list(needs)
        self.used.update(wanted)
        met, failed = dict[Need[Value], Value](), dict[Need[Value], StoreError]()
        for need in wanted:
            try:
                met[need] = self.get(need)
            except StoreError as error:
                failed[need] = error
        return met, failed

    def known(self, need: Need[Value]) -> Value | None:
        """Returns what meets a need if it is known; it is not asked for."""
        fact = self._facts.get(need)
        if fact is None or fact.error is not None:
            return None
        self.used.add(need)
        return cast("Value", fact.value)
