"""The only caller of Triton's model control: what is loaded, load, unload."""

import contextlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import tritonclient.http
from geventhttpclient.response import HTTPConnectionClosed, HTTPProtocolViolationError
from tritonclient.utils import InferenceServerException

from edge_operator.api.tensors import Tensor
from edge_operator.errors import TailRefusedError, TritonUnreachableError

Backend = Literal["python", "onnxruntime"]
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 120.0

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
    """What a reconcile needs of Triton servers; `address` is host:port of the HTTP endpoint."""

    def ready(self, address: str) -> frozenset[str]: ...
    def load(self, tail: Tail, onnx: bytes) -> None: ...
    def unload(self, address: str, name: str) -> None: ...


class TritonServers:
    """`Triton` over tritonclient. Blocking: call it off the event loop.

    The client library runs on greenlets, which belong to the thread that made them: one client per call.
    """

    def ready(self, address: str) -> frozenset[str]:
        """Names of the models that answer at the moment.

        From the statistics: the repository index lists folders, and a model that was sent along with its load
        request has none.
        """
        with _client(address, f"listing the models of Triton at {address}") as client:
            statistics: Mapping[str, Any] = client.get_inference_statistics()
        return frozenset(entry["name"] for entry in statistics["model_stats"])

    def load(self, tail: Tail, onnx: bytes) -> None:
        """Loads the slice under the tail's name; returns when it is ready, or raises TailRefusedError."""
        doing = f"loading {tail.name} into Triton at {tail.address}"
        with _client(tail.address, doing) as client:
            client.load_model(tail.name, config=json.dumps(model_config(tail)), files=model_files(tail, onnx))
            if not client.is_model_ready(tail.name):
                raise TailRefusedError(f"{doing} failed: it was accepted and is not ready")

    def unload(self, address: str, name: str) -> None:
        """Unloads a model; one that is not there is fine."""
        with _client(address, f"unloading {name} from Triton at {address}") as client:
            client.unload_model(name)


def model_config(tail: Tail) -> dict[str, Any]:
    """Triton's model configuration: one instance on the CPU, the batch as a dimension of the tensors."""
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
    """The model's directory; the python backend runs any slice by the same model.py."""
    files = {"file:1/model.onnx": onnx}
    if tail.backend == "python":
        source = importlib.resources.files("edge_operator.tails").joinpath("model.py")
        files["file:1/model.py"] = source.read_bytes()
    return files


def _described(tensor: Tensor) -> dict[str, Any]:
    datatype = _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    return {"name": tensor.name, "data_type": datatype, "dims": list(tensor.shape)}


@contextlib.contextmanager
def _client(address: str, doing: str) -> Iterator["tritonclient.http.InferenceServerClient"]:
    client = None
    try:
        client = tritonclient.http.InferenceServerClient(
            address, connection_timeout=_CONNECT_TIMEOUT, network_timeout=_READ_TIMEOUT
        )
        yield client
    except InferenceServerException as error:
        # A Python traceback follows the cause; Triton's log has it.
        said = (error.message() or str(error)).split("\n\nAt:")[0]
        raise TailRefusedError(f"{doing} failed: {' '.join(said.split())[:600]}") from error
    except (OSError, HTTPConnectionClosed, HTTPProtocolViolationError) as error:
        cause = str(error) or type(error).__name__
        raise TritonUnreachableError(f"{doing} failed: nobody answers there ({cause})") from error
    finally:
        if client is not None:
            client.close()
