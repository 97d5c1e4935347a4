"""A Triton server in explicit mode, without a network."""

from dataclasses import dataclass, field

from edge_operator.errors import TritonError, TritonUnreachableError
from edge_operator.tritons.tail_models import Tail, model_config
from edge_operator.tritons.triton import Arrays, Opener, Timed
from operator_objects import TRITON


@dataclass
class FakeTriton:
    """One server in explicit mode. grpc: whether control is open at its gRPC endpoints, by address."""

    log: list[str]
    models: set[str] = field(default_factory=set)
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    away: bool = False
    open: bool = True
    grpc: dict[str, bool] = field(default_factory=dict)
    url: str = f"http://{TRITON}"
    failure: TritonError | None = None
    asked: set[str] = field(default_factory=set)

    def ready(self, address: str) -> frozenset[str]:
        self._answer(address)
        return frozenset(self.models)

    def parameters(self, address: str, name: str) -> dict[str, str]:
        self._answer(address)
        return self.marks.get(name, {}) if name in self.models else {}

    def load(self, tail: Tail, onnx: Opener) -> None:
        self._answer(tail.address)
        with onnx():
            pass
        found = model_config(tail)["parameters"]
        self.marks[tail.name] = {key: value["string_value"] for key, value in found.items()}
        self.log.append(f"load {tail.name}")
        self.models.add(tail.name)

    def unload(self, address: str, name: str) -> None:
        self._answer(address)
        self.log.append(f"unload {name}")
        self.models.discard(name)

    def control_open(self, address: str) -> bool:
        self._answer(address)
        return self.grpc.get(address, self.open)

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        self._answer(address)
        return Timed({}, (0.001,) * runs)

    def _answer(self, address: str) -> None:
        self.asked.add(address)
        if self.failure is not None:
            raise self.failure
        if self.away or address not in (self.url, *self.grpc):
            raise TritonUnreachableError(f"no response from {address}")
