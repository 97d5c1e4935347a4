"""The only caller of Triton's model control: what is loaded, load, unload."""

import contextlib
import importlib.resources
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import gevent.ssl
import tritonclient.http
from geventhttpclient.response import HTTPConnectionClosed, HTTPProtocolViolationError
from tritonclient.utils import InferenceServerException

from edge_api.tensors import Tensor
from edge_operator.certificates import client_context, words
from edge_operator.errors import (
    CertificatesError,
    TailRefusedError,
    TritonError,
    TritonUnreachableError,
    TritonUntrustedError,
)

Backend = Literal["python", "onnxruntime"]
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 120.0
_GATEWAY = {"502", "503", "504"}
_TAG = re.compile(r"<[^>]*>")

# Triton's names (model_config.proto) for the Open Inference Protocol's datatypes.
_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True, slots=True)
class Tail:
    """A slice as a model of a Triton server."""

    address: str
    name: str
    backend: Backend
    digest: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Triton(Protocol):
    """Triton servers as a reconcile uses them; `address` is http(s)://host:port of the HTTP endpoint."""

    def ready(self, address: str) -> frozenset[str]: ...
    def load(self, tail: Tail, onnx: bytes) -> None: ...
    def unload(self, address: str, name: str) -> None: ...


class TritonServers:
    """`Triton` over tritonclient. Blocking: call it off the event loop.

    The client library uses greenlets, which belong to the thread that created them, so each call has its own
    client. Each call to an https address reads `certificates` again and therefore uses a renewed one.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self._certificates = certificates

    def ready(self, address: str) -> frozenset[str]:
        """Returns the names of the models that are ready.

        Read from the statistics: the repository index lists folders, and a model that was sent with its load
        request has none.
        """
        with self._client(address, f"listing the models of Triton at {address}") as client:
            statistics: Mapping[str, Any] = client.get_inference_statistics()
        return frozenset(entry["name"] for entry in statistics["model_stats"])

    def load(self, tail: Tail, onnx: bytes) -> None:
        """Loads the slice under the tail's name and returns once it is ready. Raises TailRefusedError."""
        doing = f"loading {tail.name} into Triton at {tail.address}"
        with self._client(tail.address, doing) as client:
            client.load_model(tail.name, config=json.dumps(model_config(tail)), files=model_files(tail, onnx))
            if not client.is_model_ready(tail.name):
                raise TailRefusedError(
                    f"{doing} failed: Triton accepted the model but it is not ready: read the log of Triton"
                )

    def unload(self, address: str, name: str) -> None:
        """Unloads a model; does nothing if it is not loaded."""
        with self._client(address, f"unloading {name} from Triton at {address}") as client:
            client.unload_model(name)

    @contextlib.contextmanager
    def _client(self, address: str, doing: str) -> Iterator["tritonclient.http.InferenceServerClient"]:
        scheme, _, authority = address.partition("://")
        try:
            context = _context(self._certificates) if scheme == "https" else None
        except CertificatesError as error:
            raise TritonUntrustedError(f"{doing} failed: {error}") from error
        client = None
        try:
            client = tritonclient.http.InferenceServerClient(
                authority,
                connection_timeout=_CONNECT_TIMEOUT,
                network_timeout=_READ_TIMEOUT,
                ssl=context is not None,
                # The library's default context trusts the system's certificate authorities.
                ssl_context_factory=lambda cafile: context,
            )
            yield client
        except InferenceServerException as error:
            raise _refusal(doing, error) from error
        except ssl.SSLCertVerificationError as error:
            cause = error.verify_message.rstrip(".")
            raise TritonUntrustedError(
                f"{doing} failed: its certificate is not trusted ({cause}): use one with the host of "
                "httpAddress, signed by ca.crt of operator.tlsSecret of the chart"
            ) from error
        except ssl.SSLError as error:
            raise TritonUntrustedError(
                f"{doing} failed: TLS failed ({words(error)}): enable TLS there and trust tls.crt of "
                "operator.tlsSecret of the chart"
            ) from error
        except (OSError, HTTPConnectionClosed, HTTPProtocolViolationError) as error:
            cause = str(error).rstrip(".") or type(error).__name__
            if context is not None and isinstance(error, (HTTPConnectionClosed, ConnectionResetError)):
                cause += "; check that it trusts tls.crt of operator.tlsSecret of the chart"
            raise TritonUnreachableError(f"{doing} failed: no response ({cause})") from error
        finally:
            if client is not None:
                client.close()


def model_config(tail: Tail) -> dict[str, Any]:
    """Returns Triton's model configuration: one CPU instance, the batch as a dimension of the tensors."""
    return {
        "name": tail.name,
        "backend": tail.backend,
        "max_batch_size": 0,
        "input": [_described(tensor) for tensor in tail.inputs],
        "output": [_described(tensor) for tensor in tail.outputs],
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
        "parameters": {"slice": {"string_value": tail.digest}},
    } | ({"default_model_filename": "model.onnx"} if tail.backend == "onnxruntime" else {})


def model_files(tail: Tail, onnx: bytes) -> dict[str, bytes]:
    """Returns the files of the model's directory; all slices have the same model.py."""
    files = {"file:1/model.onnx": onnx}
    if tail.backend == "python":
        source = importlib.resources.files("edge_operator.tails").joinpath("model.py")
        files["file:1/model.py"] = source.read_bytes()
    return files


def _described(tensor: Tensor) -> dict[str, Any]:
    datatype = _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    return {"name": tensor.name, "data_type": datatype, "dims": list(tensor.shape)}


def _refusal(doing: str, error: InferenceServerException) -> TritonError:
    """Returns the error for a status other than 200, of Triton or of a proxy in front of it."""
    status, page = error.status(), error.debug_details()
    if page is None:
        # Drops the Python traceback, which is in Triton's log.
        said = (error.message() or str(error)).split("\n\nAt:")[0]
        return TailRefusedError(f"{doing} failed: {' '.join(said.split())[:600]}")
    said = " ".join(_TAG.sub(" ", str(page)).split()).removeprefix(f"{status} ")[:200]
    if "certificate" in said.lower():  # nginx's response, with status 400
        return TritonUntrustedError(
            f"{doing} failed: the proxy rejects the operator's certificate (HTTP {status} {said}): make it "
            "trust tls.crt of operator.tlsSecret of the chart"
        )
    if status in _GATEWAY:
        return TritonUnreachableError(f"{doing} failed: the proxy cannot reach Triton (HTTP {status} {said})")
    return TailRefusedError(f"{doing} failed: the proxy in front of Triton refuses it (HTTP {status} {said})")


def _context(certificates: Path | None) -> ssl.SSLContext:
    """Returns the TLS context of a greenlet's socket."""
    if certificates is None:
        raise CertificatesError(
            "scheme HTTPS requires certificates for the operator: set operator.tlsSecret of the chart"
        )
    return client_context(certificates, gevent.ssl.SSLContext)
