"""A slice as a model of a Triton server: its name, its configuration, and whom it belongs to. Pure.

A name is derived from the installation and from the content, so services that use the same slice share one
model, and two installations on one server never share a name.
"""

import hashlib
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_api.tensors import Slice, Tensor

Backend = Literal["python", "onnxruntime"]

_PREFIX = "edge"
_OWNER = "owner"
_SLICE = "slice"
_SIZE = "size"
_TERM = "term"
_FORMER = re.compile(r"(?P<service>.+)-(?P<digest>[0-9a-f]{12})")

# Triton's names (model_config.proto) for the Open Inference Protocol's datatypes.
_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True, slots=True)
class Tail:
    """A slice as a model of a Triton server.

    owner: the installation that loads it. term: of the leader that loads it; empty until it does.
    """

    address: str
    name: str
    backend: Backend
    digest: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    size: int = 0
    owner: str = ""
    term: str = ""


def installation_identity(cluster: str, namespace: str, scope: str | None) -> str:
    """Returns the identity of an installation: of its cluster, its namespace and the namespaces it watches.

    cluster: the uid of the Namespace kube-system. scope: the watched namespace; None: all.
    """
    return hashlib.sha256(json.dumps([cluster, namespace, scope]).encode()).hexdigest()[:12]


def tail_name(owner: str, piece: Slice, backend: Backend) -> str:
    """Returns the name of a slice's model: 42 characters, lower-case letters, digits and hyphens."""
    content = _content(backend, piece.digest, piece.inputs, piece.outputs)
    described = json.dumps([content, _source().decode() if backend == "python" else ""], sort_keys=True)
    return f"{_PREFIX}-{owner}-{hashlib.sha256(described.encode()).hexdigest()[:24]}"


def may_be_ours(model: str, owner: str) -> bool:
    """Whether a model can be of this installation or of a previous version, which named it by its service.

    Only its configuration tells for certain.
    """
    return model.startswith(f"{_PREFIX}-{owner}-") or _FORMER.fullmatch(model) is not None


def former_service(model: str, owner: str) -> str | None:
    """Returns NAMESPACE-SERVICE of a name that a previous version gave; None for one of this version."""
    found = None if model.startswith(f"{_PREFIX}-{owner}-") else _FORMER.fullmatch(model)
    return found["service"] if found is not None else None


def is_ours(model: str, parameters: Mapping[str, str], owner: str) -> bool:
    """Whether a model bears this installation's mark, or has none but is a tail of a previous version.

    parameters: of the configuration that Triton has.
    """
    if parameters.get(_OWNER):
        return model.startswith(f"{_PREFIX}-{owner}-") and parameters[_OWNER] == owner
    found = _FORMER.fullmatch(model)
    return found is not None and parameters.get(_SLICE, "").startswith(f"sha256:{found['digest']}")


def is_content(parameters: Mapping[str, str], tail: Tail) -> bool:
    """Whether a model with the tail's name bears the installation's mark and the digest of its content."""
    return parameters.get(_OWNER) == tail.owner and parameters.get(_SLICE) == tail.digest


def marked_size(parameters: Mapping[str, str]) -> int:
    """Returns the bytes of the slice of a loaded model; 0 if its configuration does not tell."""
    text = parameters.get(_SIZE, "")
    return int(text) if text.isdecimal() and text.isascii() else 0


def marked_term(parameters: Mapping[str, str]) -> str:
    """Returns the term of the leader that loaded a model; empty if an earlier version did."""
    return parameters.get(_TERM, "")


def model_config(tail: Tail) -> dict[str, Any]:
    """Returns Triton's model configuration: one CPU instance, the batch as a dimension of the tensors."""
    config = _content(tail.backend, tail.digest, tail.inputs, tail.outputs)
    marked = (
        config["parameters"]
        | {
            _OWNER: {"string_value": tail.owner},
            _SIZE: {"string_value": str(tail.size)},
        }
        | ({_TERM: {"string_value": tail.term}} if tail.term else {})
    )
    return {"name": tail.name} | config | {"parameters": marked}


def sources(backend: Backend) -> dict[str, bytes]:
    """Returns the files of a model's directory besides the slice; all slices have the same model.py."""
    return {"file:1/model.py": _source()} if backend == "python" else {}


def _content(
    backend: Backend, digest: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> dict[str, Any]:
    return {
        "backend": backend,
        "max_batch_size": 0,
        "input": [_described(tensor, backend) for tensor in inputs],
        "output": [_described(tensor, backend) for tensor in outputs],
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
        "parameters": {_SLICE: {"string_value": digest}},
    } | ({"default_model_filename": "model.onnx"} if backend == "onnxruntime" else {})


def _described(tensor: Tensor, backend: str) -> dict[str, Any]:
    """Triton refuses tensors without dimensions: a scalar has one element for clients."""
    datatype = _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    found = {"name": tensor.name, "data_type": datatype, "dims": list(tensor.shape) or [1]}
    reshaped = backend == "onnxruntime" and not tensor.shape  # tails/model.py does it in the python backend
    return found | ({"reshape": {"shape": []}} if reshaped else {})


def _source() -> bytes:
    return importlib.resources.files("edge_operator.tritons.tails").joinpath("model.py").read_bytes()
