"""Requests to a service by the Open Inference Protocol, over HTTP with binary tensors."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
import numpy.typing as npt

from edge_cli.errors import CommandError, ExitStatus

if TYPE_CHECKING:
    from edge_cli.connections import Connection

Array = npt.NDArray[Any]
HEADER: Final = "Inference-Header-Content-Length"
DATATYPES: Final[Mapping[str, str]] = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
    "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "FP16": "float16", "FP32": "float32",
    "FP64": "float64",
}  # fmt: skip
"""Datatypes of the protocol as those of NumPy."""
TEXT: Final = "BYTES"
_PORT: Final = 8080


@dataclass(frozen=True, slots=True)
class TensorForm:
    """An input or output as a service describes it; -1 stands for an open dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. seconds: from sending to the last byte. parameters: exit, cut and route among them."""

    outputs: Mapping[str, Array]
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0


class RequestError(CommandError):
    """A request that was answered by an error; `code` is its HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ServiceClient:
    """A service at an address. Use it from one thread."""

    def __init__(
        self,
        url: str,
        service: str,
        timeout: float = 30.0,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """timeout: of a request, in seconds. ca_file: CA of an https address; None: those of the system."""
        verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._client = httpx.Client(
            base_url=url, timeout=timeout, trust_env=False, verify=verify, transport=transport
        )
        self._path, self._service = f"/v2/models/{service}", service

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def inputs(self) -> tuple[TensorForm, ...]:
        """Returns the inputs of the service. Raises CommandError."""
        found = self._json(self._send("GET", self._path))
        return tuple(
            TensorForm(t["name"], t["datatype"], tuple(map(int, t["shape"]))) for t in found["inputs"]
        )

    def infer(self, feeds: Mapping[str, Array]) -> Reply:
        """Returns the response to arrays by the names of inputs. Raises RequestError, CommandError."""
        body, length = request_body(feeds)
        began = time.perf_counter()
        headers = {HEADER: str(length), "Content-Type": "application/octet-stream"}
        response = self._send("POST", f"{self._path}/infer", content=body, headers=headers)
        seconds = time.perf_counter() - began
        outputs, parameters = response_of(response.content, response.headers.get(HEADER))
        return Reply(outputs, parameters, seconds)

    def infer_document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the response to a request in the protocol's JSON. Raises RequestError, CommandError."""
        return self._json(self._send("POST", f"{self._path}/infer", json=document))

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:  # noqa: ANN401 - of httpx
        try:
            response = self._client.request(method, path, **body)
        except httpx.TimeoutException as error:
            raise CommandError(
                f"service {self._service}: no response within the time-out: raise --timeout",
                ExitStatus.UNREACHABLE,
            ) from error
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise CommandError(
                f"service {self._service}: no response ({said})", ExitStatus.UNREACHABLE
            ) from error
        if response.is_success:
            return response
        raise RequestError(f"service {self._service}: {_said(response)}", response.status_code)

    @staticmethod
    def _json(response: httpx.Response) -> dict[str, Any]:
        found: dict[str, Any] = response.json()
        return found


def request_body(feeds: Mapping[str, Array]) -> tuple[bytes, int]:
    """Returns the body of a request with binary tensors, and the length of its JSON part in bytes."""
    names = {np.dtype(value): key for key, value in DATATYPES.items()}
    inputs, raw = [], []
    for name, array in feeds.items():
        data = np.ascontiguousarray(array).tobytes()
        raw.append(data)
        inputs.append(
            {
                "name": name,
                "datatype": names[array.dtype],
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        )
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(raw), len(head)


def response_of(content: bytes, length: str | None) -> tuple[dict[str, Array], dict[str, Any]]:
    """Returns the outputs and the parameters of a response. length: of its JSON part; None: all of it."""
    end = len(content) if length is None else int(length)
    found, at = json.loads(content[:end]), end
    outputs: dict[str, Array] = {}
    for each in found["outputs"]:
        size = (each.get("parameters") or {}).get("binary_data_size")
        if size is None:
            data = each.get("data") or []
            array = np.array(data, dtype=DATATYPES.get(each["datatype"], object))
        elif each["datatype"] == TEXT:
            array = np.array(_texts(content[at : at + size]), dtype=object)
        else:
            array = np.frombuffer(content[at : at + size], DATATYPES[each["datatype"]])
        outputs[each["name"]] = array.reshape(each["shape"])
        at += size or 0
    return outputs, found.get("parameters") or {}


def _texts(raw: bytes) -> list[str]:
    found, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        found.append(raw[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    return found


def _said(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        said = error if isinstance(error, str) else error.get("message", "")
    except (ValueError, KeyError, AttributeError):
        said = response.text[:300]
    return f"HTTP {response.status_code}: {said}" if said else f"HTTP {response.status_code}"


@contextlib.contextmanager
def reached(here: Connection | None, service: str, address: str | None, node: str | None) -> Iterator[str]:
    """Gives the URL at which a service is reached.

    address: a direct one. Otherwise, outside a cluster, a port of a runtime is forwarded through the API
    server. node: the entry node whose runtime is called. Raises CommandError, ClusterError.
    """
    if address is not None:
        yield address if address.startswith(("http://", "https://")) else f"http://{address}"
        return
    from edge_cli.forwarding import chosen_pod, container_port, forwarded
    from edge_operator.cluster import SERVICES

    assert here is not None, "without an address there is a connection"
    body = here.cluster.get(SERVICES, here.namespace, service)
    if body is None:
        raise CommandError(f"Service {here.namespace}/{service}: does not exist: choose a namespace with -n")
    if any(each.get("appProtocol") == "https" for each in body["spec"].get("ports") or ()):
        raise CommandError(
            f"Service {here.namespace}/{service}: requires certificates of its clients (runtime.tlsSecret): "
            "call it with --address and --ca-file from a client that has one"
        )
    if os.environ.get("KUBERNETES_SERVICE_HOST") and node is None:
        yield f"http://{service}.{here.namespace}.svc:{_PORT}"
        return
    pod = chosen_pod(here, body, node)
    with forwarded(here, here.namespace, pod["metadata"]["name"], container_port(pod, body, _PORT)) as via:
        yield f"http://{via.address}"
