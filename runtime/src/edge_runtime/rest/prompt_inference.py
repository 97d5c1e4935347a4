"""Inferences that are over before anything else runs: short ones whose request differs only in its values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from edge_runtime.asgi import JSON, Header, Response
from edge_runtime.errors import EdgeError
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.header_layouts import HeaderCache
from edge_runtime.protocol.requests import HEADER_LENGTH, decode_known
from edge_runtime.protocol.responses import RepeatedHeader, encode_response
from edge_runtime.responses import InferenceResponse
from edge_runtime.rest.bodies import Bodies
from edge_runtime.rest.refusals import INTERNAL_ERROR, refusal
from edge_runtime.serving import MODEL_VERSION, Models
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory
from edge_runtime.tensors import Contract

_log = logging.getLogger(__name__)

_HEADER: Final = HEADER_LENGTH.encode()
_BINARY: Final = (b"content-type", b"application/octet-stream")
_IDENTITY: Final = (b"accept-encoding", b"identity")
_WITHOUT_EFFECT: Final = frozenset(
    (b"accept", b"connection", b"content-length", b"content-type", b"host", b"user-agent")
)


def json_length(headers: Sequence[Header]) -> int | None:
    """Length of the JSON before the raw values in bodies behind these headers.

    None without raw values, and if other headers matter: for compressed and traced requests, for example.
    """
    found = 0
    for header in headers:
        name, value = header
        if name == _HEADER and not found and value.isdigit() and len(value) < 20:
            found = int(value)
        elif name not in _WITHOUT_EFFECT and header != _IDENTITY:
            return None
    return found or None


def encoded(
    model: str,
    request: DecodedRequest,
    contract: Contract,
    result: InferenceResponse,
    memory: SharedMemory = NO_SHARED_MEMORY,
) -> Response:
    """The response to an inference. Raises BadRequest as `encode_response`."""
    arrays, parameters = result.outputs, result.parameters
    parts, length = encode_response(
        model, MODEL_VERSION, request, contract, arrays, parameters, tensors=result.tensors, memory=memory
    )
    return _response(parts, length)


def _response(parts: Sequence[bytes | memoryview], length: int | None) -> Response:
    headers = [JSON] if length is None else [_BINARY, (_HEADER, b"%d" % length)]
    return Response(200, headers, parts)


class PromptInference:
    """Responds to requests of one model whose JSON has one length.

    Returns None, with nothing counted, if the JSON was not validated before, or the inference has to wait.
    """

    def __init__(
        self,
        models: Models,
        model: str,
        length: int,
        header_cache: Callable[[str], HeaderCache],
        bodies: Bodies,
    ) -> None:
        self._models, self._model, self._length = models, model, length
        self._header_cache, self._bodies = header_cache, bodies
        self._header = RepeatedHeader(model, MODEL_VERSION)

    def __call__(self, body: bytes | memoryview) -> Response | None:
        """See AtOnce."""
        models, model = self._models, self._model
        # A model that has been removed since its head was read may be served by another node.
        if models.draining or not models.serves(model) or not self._bodies.fits(body):
            return None
        try:
            contract = models.contract(model)
            request = decode_known(body, self._length, contract, self._header_cache(model))
            if request is None:
                return None
            result = models.at_once(model, request.inference(request.parameters.timeout))
            return None if result is None else _response(*self._header.encode(request, contract, result))
        except EdgeError as error:
            return refusal(error)
        except Exception:
            _log.exception("an inference of %s", model)
            return INTERNAL_ERROR
