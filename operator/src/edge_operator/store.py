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
from pydantic import BaseModel, ValidationError

from edge_api import reasons
from edge_api.model_sources import ModelSource, Validation
from edge_api.objects import written
from edge_api.placements import UNENCODED
from edge_api.store_access import AUDIENCE, NAMESPACE_HEADER
from edge_api.tensors import Slice
from edge_operator.certificates import client_context
from edge_operator.errors import CertificatesError, StoreError
from edge_operator.store_answers import (
    CodecAccuracies,
    DeviceProfile,
    LayerGraph,
    ModelCard,
    Progress,
    Transfers,
)


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
        self,
        model: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        decode: str,
        encode: str,
        kept: Sequence[str] = (),
    ) -> Slice: ...
    def progress(self, address: str) -> Progress | None: ...
    def layers(self, model: str) -> LayerGraph | None: ...
    def profile(self, model: str, selection: str, device_class: str) -> DeviceProfile | None: ...
    def estimate(self, model: str, selection: str, device_class: str) -> DeviceProfile | None: ...
    def codecs(self, card: ModelCard, validation: Validation) -> CodecAccuracies: ...
    def blob(self, digest: str) -> AbstractContextManager[Blob]: ...


AnyAnswer = TypeVar("AnyAnswer", bound=BaseModel)
_NOT_METADATA: Final = ("validation", "secret_name", "first_requests")
"""Fields of a model's source that its metadata do not depend on."""
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
                written(source.model_copy(update=dict.fromkeys(_NOT_METADATA))),
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
        kept: Sequence[str] = (),
    ) -> Slice:
        """Returns the subgraph between two sets of tensors as a file, with its codecs.

        kept: further outputs, which are not sent.
        """
        request = {
            "model": model,
            "inputs": list(inputs),
            "outputs": list(outputs),
            "decode": decode,
            "encode": encode,
            **({"kept": list(kept)} if kept else {}),
        }
        return _parsed(Slice, self._json("POST", "/v1/slices", request), "POST /v1/slices")

    def progress(self, address: str) -> Progress | None:
        """Returns how far the store is with the file at an address; None if it does not receive it now."""
        found = self._found(Transfers, "/v1/transfers")
        return None if found is None else next((t for t in found.transfers if t.source == address), None)

    def layers(self, model: str) -> LayerGraph | None:
        """Returns the layers of the model; None if the store does not know it, or has no layers at all."""
        return self._found(LayerGraph, f"/v1/models/{model}/layers")

    def profile(self, model: str, selection: str, device_class: str) -> DeviceProfile | None:
        """Returns the measurements of the model on a class of selected nodes; None before they are made."""
        return self._found(DeviceProfile, f"/v1/profiles/{model}/{selection}/{device_class}")

    def estimate(self, model: str, selection: str, device_class: str) -> DeviceProfile | None:
        """Returns estimated times of the model on a class; None if no model was measured there yet."""
        return self._found(DeviceProfile, f"/v1/estimates/{model}/{selection}/{device_class}")

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
