"""Requests with Triton's Python clients, over HTTP and gRPC."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

from benchmarks.models.inputs import Array, Feeds
from benchmarks.models.servers import Server

_SECONDS = 120.0


class Caller:
    """A client of one server, over HTTP or gRPC."""

    def __init__(self, server: Server, *, http: bool) -> None:
        self._library: Any = tritonclient.http if http else tritonclient.grpc
        if http:
            address = server.url.removeprefix("http://")
            timeouts = {"connection_timeout": _SECONDS, "network_timeout": _SECONDS}
            self._client: Any = tritonclient.http.InferenceServerClient(address, **timeouts)
        else:
            self._client = tritonclient.grpc.InferenceServerClient(server.target)

    def infer(
        self, model: str, feeds: Feeds, outputs: Sequence[str]
    ) -> tuple[dict[str, Array], Mapping[str, Any]]:
        """Returns the outputs by name, and the parameters of the response."""
        return infer(self._library, self._client, model, feeds, outputs)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def infer(
    library: Any,  # noqa: ANN401 - tritonclient has no types
    client: Any,  # noqa: ANN401
    model: str,
    feeds: Feeds,
    outputs: Sequence[str],
) -> tuple[dict[str, Array], Mapping[str, Any]]:
    """Returns the outputs by name, and the parameters of the response. library: of the client."""
    found = client.infer(model, inputs_of(library, feeds))
    response = found.get_response()
    parameters = (
        response.get("parameters", {})
        if isinstance(response, dict)
        else {key: getattr(v, v.WhichOneof("parameter_choice")) for key, v in response.parameters.items()}
    )
    return {name: found.as_numpy(name) for name in outputs}, parameters


def inputs_of(library: Any, feeds: Feeds) -> list[Any]:  # noqa: ANN401
    """Returns the inputs of a request in the form of tritonclient. library: of its protocol."""
    inputs = []
    for name, array in feeds.items():
        given = library.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        given.set_data_from_numpy(_sendable(array))
        inputs.append(given)
    return inputs


def _sendable(array: Array) -> Array:
    if array.dtype.kind != "O":
        return array
    return np.array([str(text).encode() for text in array.ravel()], object).reshape(array.shape)
