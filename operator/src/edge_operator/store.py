"""Client of the model store: models, slices, profiles and their bytes, over HTTP."""

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from edge_api import reasons
from edge_api.model_sources import Metric, ModelSource, Validation
from edge_api.objects import written
from edge_api.placements import UNENCODED
from edge_api.store_access import AUDIENCE, NAMESPACE_HEADER
from edge_api.tensors import ResponseNames, Slice, Tensor
from edge_operator.certificates import client_context
from edge_operator.errors import CertificatesError, StoreError


class _Answer(BaseModel):
    """A response of the store; fields that a newer store adds are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class CardCut(_Answer):
    """Tensors at which an exit may be cut, by name and one by one, and their bytes for one item."""

    tensor: str
    tensors: tuple[str, ...] = ()
    bytes: int
    bytes_at: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors; an older store names a single one only."""
        return self.tensors or (self.tensor,)


class CardExit(_Answer):
    """An exit, its outputs and its cuts from the inputs to the deepest.

    accuracy: None if none is stated. tensors: the outputs, where they are known; of the last exit always.
    """

    name: str
    outputs: tuple[str, ...]
    accuracy: float | None = None
    response_names: ResponseNames = "Final"
    tensors: tuple[Tensor, ...] = ()
    cuts: tuple[CardCut, ...]

    @property
    def end(self) -> str:
        """The outputs' names joined by +, which identify the exit in measurements."""
        return "+".join(self.outputs)

    @property
    def source(self) -> tuple[str, ...]:
        """The inputs of the model that the exit needs."""
        return self.cuts[0].names

    def document(self) -> dict[str, Any]:
        """The exit as in a manifest."""
        return {
            "name": self.name,
            "outputs": list(self.outputs),
            "accuracy": self.accuracy,
            "responseNames": self.response_names,
        }


class CardShape(_Answer):
    """The shape of each input of a request, by name."""

    inputs: dict[str, tuple[int, ...]]


class UnknownSize(_Answer):
    """An open dimension of an input whose size nothing states; symbol: its name in the file."""

    input: str
    dimension: int
    symbol: str


class ModelCard(_Answer):
    """The metadata that the store found in a model's file.

    local: why requests can be served only at the node at which they arrive; empty if they need not.
    shapes: of requests, from the smallest to the largest, in the order of `bytes_at` of cuts; empty if only
    the batch is open. unknown_sizes: open dimensions without a size; advice: what to write about them.
    samples: digest of the file of samples.
    """

    digest: str
    size: int = 0
    inputs: tuple[Tensor, ...]
    exits: tuple[CardExit, ...]
    input_copies: tuple[str, ...] = ()
    local: str = ""
    shapes: tuple[CardShape, ...] = ()
    unknown_sizes: tuple[UnknownSize, ...] = ()
    advice: str = ""
    samples: str | None = None

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs of the full model."""
        return self.exits[-1].tensors


class Progress(_Answer):
    """Bytes that the store received of a file. size: of the whole file; None if it is not known."""

    source: str
    received: int
    size: int | None = None


class _Transfers(_Answer):
    transfers: tuple[Progress, ...] = ()


class GraphLayer(_Answer):
    """A layer of a model; inputs: activations."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: float


class GraphTensor(_Answer):
    """A tensor between layers. bytes: for one item; 0 if it cannot be sent."""

    name: str
    bytes: int


class LayerGraph(_Answer):
    """A model's layers in topological order; none if the store cannot tell them apart."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[GraphLayer, ...]
    tensors: tuple[GraphTensor, ...]


class SegmentTime(_Answer):
    """Compute time of the slice between two neighboring cuts, in seconds."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    mean_seconds: float
    p95_seconds: float
    runs: int = 0


class ExitTime(_Answer):
    """Compute time of a whole exit, in seconds."""

    exit: str
    output: str = ""
    """The outputs' names joined by +; empty if an earlier version wrote it."""
    mean_seconds: float
    p95_seconds: float
    runs: int = 0


class AssumedSize(_Answer):
    """The size that an open dimension of an input had when it was measured."""

    input: str
    dimension: int
    symbol: str | None = None
    size: int


class RequestTime(_Answer):
    """Processor seconds of requests outside of inference; processors: how many the node could use."""

    processors: float = Field(ge=0.001)
    receive_seconds: float = Field(ge=0)
    receive_seconds_per_byte: float = Field(ge=0)
    hop_seconds: float = Field(ge=0)
    hop_seconds_per_byte: float = Field(ge=0)


class ProfileShape(_Answer):
    """Compute times of a model at one shape of its inputs."""

    inputs: dict[str, tuple[int, ...]]
    segments: tuple[SegmentTime, ...]
    exits: tuple[ExitTime, ...]


class DeviceProfile(_Answer):
    """Compute times of a model on a device class, measured on one of its nodes.

    segments, exits: at the largest of the shapes. shapes: from the smallest to the largest; empty if only the
    batch is open. refused: why the model could not be measured on its inputs; it then has no times.
    samples_digest: of the file of samples that it was measured on.
    """

    model: str
    selection: str = ""
    device_class: str
    node: str
    threads: int = 1
    execution_provider: str | None = None
    segments: tuple[SegmentTime, ...]
    exits: tuple[ExitTime, ...]
    relative_error: float = 0.0
    assumed: tuple[AssumedSize, ...] = ()
    requests: RequestTime | None = None
    shapes: tuple[ProfileShape, ...] = ()
    refused: str = ""
    samples_digest: str | None = None


class CodecAccuracy(_Answer):
    """An exit's accuracy on the validation data with one codec at one cut. bytes: sent for one item."""

    exit: str
    cut: tuple[str, ...]
    codec: str
    bytes: int
    accuracy: float

    @property
    def cut_name(self) -> str:
        """The cut's tensors joined by +."""
        return "+".join(self.cut)


class CodecRefusal(_Answer):
    """A codec that a cut cannot carry, and why not."""

    cut: tuple[str, ...]
    codec: str
    why: str


class LeavingExit(_Answer):
    """The share of inputs that leave at an exit, and their accuracy."""

    exit: str
    share: float
    accuracy: float


class ExitConfidence(_Answer):
    """What a confidence threshold does, by exit from the earliest to the last."""

    threshold: float
    exits: tuple[LeavingExit, ...]


class CodecAccuracies(_Answer):
    """Accuracies measured on a number of samples; empty until complete. metric: None is Accuracy."""

    complete: bool
    samples: int
    metric: Metric | None = None
    measured: tuple[CodecAccuracy, ...] = ()
    refused: tuple[CodecRefusal, ...] = ()
    confidences: tuple[ExitConfidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the store: its size in bytes, and its content as it arrives."""

    size: int
    chunks: Iterable[bytes]


class Store(Protocol):
    """The model store as a reconcile uses it."""

    @property
    def url(self) -> str: ...
    def of(self, namespace: str) -> "Store": ...
    def register(self, source: ModelSource) -> ModelCard: ...
    def slice(
        self, model: str, inputs: Sequence[str], outputs: Sequence[str], decode: str, encode: str
    ) -> Slice: ...
    def progress(self, address: str) -> Progress | None: ...
    def layers(self, model: str) -> LayerGraph | None: ...
    def profile(self, model: str, selection: str, device_class: str) -> DeviceProfile | None: ...
    def codecs(self, card: ModelCard, validation: Validation) -> CodecAccuracies: ...
    def blob(self, digest: str) -> AbstractContextManager[Blob]: ...


AnyAnswer = TypeVar("AnyAnswer", bound=BaseModel)
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 35_000),
)
"""Ends a request 35 s after the store's node is gone, although a response can take minutes."""


class ModelStore:
    """`Store` over HTTP, blocking: call it off the event loop. Raises StoreError with the store's reason."""

    def __init__(
        self,
        url: str,
        client: httpx.Client | None = None,
        certificates: Path | None = None,
        token: Path | None = None,
        namespace: str = "",
    ) -> None:
        """certificates, token: a folder and a file, which each call reads again.

        namespace: for which the store is used; empty: for none, which can register nothing.
        """
        self.url = url.rstrip("/")
        self._certificates = certificates if url.startswith("https://") else None
        self._client = client or _client()
        self._token, self._namespace = token, namespace

    def of(self, namespace: str) -> "ModelStore":
        """Returns the store as a namespace sees it: what was registered for it."""
        return ModelStore(self.url, self._client, self._certificates, self._token, namespace)

    def register(self, source: ModelSource) -> ModelCard:
        """Returns the metadata of the model at `source`; the store fetches, verifies and parses it."""
        return _parsed(
            ModelCard,
            self._json(
                "POST",
                "/v1/models",
                written(source.model_copy(update={"validation": None, "secret_name": None})),
            ),
            "POST /v1/models",
        )

    def slice(
        self,
        model: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        decode: str = UNENCODED,
        encode: str = UNENCODED,
    ) -> Slice:
        """Returns the subgraph between two sets of tensors as a file, with its codecs."""
        request = {
            "model": model,
            "inputs": list(inputs),
            "outputs": list(outputs),
            "decode": decode,
            "encode": encode,
        }
        return _parsed(Slice, self._json("POST", "/v1/slices", request), "POST /v1/slices")

    def progress(self, address: str) -> Progress | None:
        """Returns how far the store is with the file at an address; None if it does not receive it now."""
        found = self._found(_Transfers, "/v1/transfers")
        return None if found is None else next((t for t in found.transfers if t.source == address), None)

    def layers(self, model: str) -> LayerGraph | None:
        """Returns the layers of the model; None if the store does not know it, or has no layers at all."""
        return self._found(LayerGraph, f"/v1/models/{model}/layers")

    def profile(self, model: str, selection: str, device_class: str) -> DeviceProfile | None:
        """Returns the measurements of the model on a class of selected nodes; None before they are made."""
        return self._found(DeviceProfile, f"/v1/profiles/{model}/{selection}/{device_class}")

    def codecs(self, card: ModelCard, validation: Validation) -> CodecAccuracies:
        """Returns the accuracy of each exit with each codec at each cut, measured on the validation data.

        The store starts measuring at the first request; the result is not complete until it is done.
        """
        exits = [exit_.document() for exit_ in card.exits]
        request = {"model": card.digest, "exits": exits, "validation": written(validation)}
        return _parsed(CodecAccuracies, self._json("POST", "/v1/codecs", request), "POST /v1/codecs")

    @contextlib.contextmanager
    def blob(self, digest: str) -> Iterator[Blob]:
        """Opens the file with a digest; iterating over its chunks raises StoreError if the store fails."""
        path = f"/v1/blobs/{digest}"
        with contextlib.ExitStack() as stack:
            try:
                client = self._client
                if self._certificates is not None:
                    client = stack.enter_context(_client(verify=client_context(self._certificates)))
                headers = self._headers() | {"Accept-Encoding": "identity"}
                response = stack.enter_context(client.stream("GET", self.url + path, headers=headers))
                if not response.is_success:
                    response.read()
            except (httpx.HTTPError, CertificatesError) as error:
                raise self._unreachable(error) from error
            if not response.is_success:
                raise _refusal(response, f"GET {path}")
            length = response.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise StoreError(
                    reasons.BAD_ANSWER,
                    f"model store {self.url}: response to GET {path} has no Content-Length: check that no "
                    "proxy re-encodes it",
                )
            yield Blob(int(length), self._chunks(response))

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> StoreError:
        cause = str(error) or type(error).__name__
        return StoreError(reasons.UNREACHABLE, f"model store {self.url}: no response: {cause}")

    def _found(self, answer: type[AnyAnswer], path: str) -> AnyAnswer | None:
        try:
            return _parsed(answer, self._json("GET", path), f"GET {path}")
        except StoreError as error:
            if error.reason == reasons.NOT_FOUND:
                return None
            raise

    def _request(self, method: str, path: str, body: object) -> httpx.Response:
        headers = self._headers()
        if self._certificates is None:
            return self._client.request(method, self.url + path, json=body, headers=headers)
        with _client(verify=client_context(self._certificates)) as client:
            return client.request(method, self.url + path, json=body, headers=headers)

    def _headers(self) -> dict[str, str]:
        headers = {NAMESPACE_HEADER: self._namespace} if self._namespace else {}
        if self._token is None:
            return headers
        try:
            token = self._token.read_text().strip()  # which the kubelet renews
        except OSError as error:
            raise StoreError(
                reasons.UNAUTHENTICATED,
                f"EDGE_STORE_TOKEN_FILE: {self._token} cannot be read ({error.strerror}): mount a token with "
                f"audience {AUDIENCE}",
            ) from error
        return headers | {"Authorization": f"Bearer {token}"}

    def _json(self, method: str, path: str, body: object = None) -> object:
        try:
            return self._answer(method, path, body).json()
        except ValueError as error:
            raise StoreError(
                reasons.UNREACHABLE,
                f"model store {self.url}: response to {method} {path} is not JSON: check that a model store "
                "listens there",
            ) from error

    def _answer(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            response = self._request(method, path, body)
        except (httpx.HTTPError, CertificatesError) as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return response
        raise _refusal(response, f"{method} {path}")


def _client(*, verify: ssl.SSLContext | bool = True) -> httpx.Client:
    # The store downloads a model at the first request for it, which takes time.
    timeout = httpx.Timeout(30.0, connect=5.0, read=600.0)
    transport = httpx.HTTPTransport(verify=verify, socket_options=_KEEPALIVE)
    return httpx.Client(timeout=timeout, transport=transport)


def _parsed(answer: type[AnyAnswer], document: object, request: str) -> AnyAnswer:
    try:
        return answer.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            reasons.BAD_ANSWER,
            f"model store: response to {request}: {field}: {first['msg']}: run the operator and the "
            "model store at the same version",
        ) from error


def _refusal(response: httpx.Response, request: str) -> StoreError:
    try:
        document: Any = response.json()
        error = document["error"]
        return StoreError(reasons.known(str(error["reason"]), reasons.STORE_FAILED), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        reason = reasons.NOT_FOUND if response.status_code == 404 else reasons.UNREACHABLE
        return StoreError(reason, f"model store: {request} failed with HTTP {response.status_code}")
