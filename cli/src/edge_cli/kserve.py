"""Converts InferenceServices of KServe (serving.kserve.io/v1beta1). Pure.

KServe runs a model in pods that scale with the load, in a cluster; this API runs it at entry nodes and splits
it by an SLO. A note names each field without a counterpart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from edge_cli.errors import CommandError
from edge_cli.manifests import Wishes, manifest

Body = Mapping[str, Any]
GROUP: Final = "serving.kserve.io"
VERSION: Final = f"{GROUP}/v1beta1"
_FRAMEWORKS: Final = (
    "sklearn", "xgboost", "lightgbm", "pmml", "paddle", "tensorflow", "pytorch", "huggingface", "onnx",
    "triton",
)  # fmt: skip
"""Predictors of earlier versions, which name the framework as the field."""
_SCHEMES: Final = ("gs", "s3", "https", "http", "hf", "oci", "pvc")
_NOT_PREDICTOR: Final = {
    "transformer": "has no counterpart: put its steps into the ONNX file, or send requests through a service "
    "of your own",
    "explainer": "has no counterpart: run the explainer beside the model",
}
_SCALING: Final = (
    "has no counterpart: an entry node has one runtime, and spec.load.rate reserves its processors"
)
_DROPPED: Final = {
    "minReplicas": _SCALING,
    "maxReplicas": _SCALING,
    "scaleTarget": _SCALING,
    "scaleMetric": _SCALING,
    "autoScaling": _SCALING,
    "containerConcurrency": "has no counterpart: requests wait in the order of their deadlines",
    "batcher": "is not needed: runtimes batch requests where that pays (docs/batching.md)",
    "logger": "has no counterpart: traces and metrics are exported (docs/tracing.md, docs/metrics.md)",
    "canaryTrafficPercent": "is a step of spec.rollout, which applies when spec.model.storageUri changes "
    "(docs/rollouts.md)",
    "workerSpec": "has no counterpart: the plan splits the model between nodes",
    "tolerations": "is a field of a group in spec.nodes of the DevicePool: write it there",
    "affinity": "has no counterpart: spec.entryNodes selects nodes by labels",
    "serviceAccountName": "has no counterpart: name the Secret itself in spec.model.secretName",
    "imagePullSecrets": "is the chart's value imagePullSecrets",
}
_TO_ZERO: Final = (
    "0 has no counterpart for pods: spec.scaling.idleAfter lets go of the memory of a service without "
    "requests (docs/idle-services.md)"
)
_NOT_KNOWN: Final = "has no counterpart"
_READ: Final = ("model", "nodeSelector", "timeout", *_FRAMEWORKS)
"""Fields of the predictor that are converted, or have a sentence of their own."""
_READ_MODEL: Final = ("modelFormat", "storageUri", "storage", "protocolVersion", "name")
_DROPPED_MODEL: Final = {
    "resources": "is the chart's value runtime.resources, the same for all runtimes",
    "runtime": "is not needed: one runtime serves ONNX models",
    "runtimeVersion": "is not needed: one runtime serves ONNX models",
    "args": "has no counterpart",
    "env": "has no counterpart",
    "image": "is the chart's value runtime.image, or spec.nodes[].image of the DevicePool",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted service.

    Attributes:
        body: The manifest; None, with the reason as the only note, if nothing can be converted.
        notes: What does not map, and what to check.
    """

    name: str
    body: dict[str, Any] | None
    notes: tuple[str, ...]


def is_kserve(document: object) -> TypeGuard[Body]:
    """Whether a document is an InferenceService of KServe."""
    return (
        isinstance(document, dict)
        and document.get("apiVersion") == VERSION
        and document.get("kind") == "InferenceService"
    )


def converted(document: Body, latency: float, pool: str) -> Converted:
    """Returns the service in this API. latency: of the SLO, in seconds. pool: name of the DevicePool."""
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    name, predictor = str(metadata.get("name") or ""), spec.get("predictor") or {}
    framework, model = _model(predictor)
    if model is None:
        return _refused(name, "spec.predictor: has no model: a container of your own is not an ONNX model")
    if framework not in ("onnx", "triton"):
        return _refused(
            name,
            f'spec.predictor.model.modelFormat.name: "{framework}" is not served: export the model to ONNX '
            "(docs/frameworks.md)",
        )
    uri = model.get("storageUri") or ""
    scheme = uri.partition("://")[0]
    if scheme not in _SCHEMES:
        return _refused(
            name,
            f'spec.predictor.model.storageUri: "{uri}" cannot be read here: upload the file with `ei put` '
            "and use its store:// address",
        )
    try:
        body = manifest(Wishes(name, uri, pool, latency, namespace=metadata.get("namespace")))
    except CommandError as error:
        return _refused(name, str(error))
    body["metadata"] |= _own(metadata)
    if selector := predictor.get("nodeSelector"):
        body["spec"]["entryNodes"] = {"nodeSelector": dict(selector)}
    return Converted(name, body, tuple(_notes(metadata, spec, predictor, model, uri)))


def _refused(name: str, why: str) -> Converted:
    return Converted(name, None, (why,))


def _model(predictor: Body) -> tuple[str, Body | None]:
    """Returns the format and the model of a predictor, in the present and in earlier forms."""
    if model := predictor.get("model"):
        return str((model.get("modelFormat") or {}).get("name") or ""), model
    for framework in _FRAMEWORKS:
        if framework in predictor:
            return framework, predictor[framework] or {}
    return "", None


def _notes(metadata: Body, spec: Body, predictor: Body, model: Body, uri: str) -> Iterator[str]:
    if not uri.endswith(".onnx"):
        yield f'spec.predictor.model.storageUri: "{uri}" may be a folder: name the .onnx file in it'
    if model.get("storage") or predictor.get("serviceAccountName"):
        yield "spec.model.secretName: name the Secret with the credentials of the storage"
    yield from _each("spec", spec, _NOT_PREDICTOR, ("predictor",))
    to_zero = {"minReplicas": _TO_ZERO} if predictor.get("minReplicas") == 0 else {}
    yield from _each("spec.predictor", predictor, _DROPPED | to_zero, _READ)
    yield from _each("spec.predictor.model", model, _DROPPED_MODEL, _READ_MODEL)
    if model.get("protocolVersion", "v1") == "v1":
        yield "clients: the service speaks the Open Inference Protocol v2, not KServe's v1"
    if timeout := predictor.get("timeout"):
        yield f"spec.predictor.timeout: {timeout} s is not the SLO: requests carry their own timeout"
    for field in ("labels", "annotations"):
        theirs = sorted(key for key in metadata.get(field) or {} if _of_kserve(key))
        yield from (f"metadata.{field}: {key} {_NOT_KNOWN}" for key in theirs)


def _each(path: str, body: Body, sentences: Mapping[str, str], read: Sequence[str]) -> Iterator[str]:
    """Yields a note for each field without a counterpart, first those of `sentences` in their order."""
    yield from (f"{path}.{name}: {why}" for name, why in sentences.items() if name in body)
    yield from (f"{path}.{name}: {_NOT_KNOWN}" for name in body if name not in {*sentences, *read})


def _of_kserve(key: str) -> bool:
    return "kserve.io" in key or "knative.dev" in key


def _own(metadata: Body) -> dict[str, dict[str, str]]:
    """Returns labels and annotations of the author, without those of KServe and of kubectl."""
    found = {}
    for field in ("labels", "annotations"):
        own = {
            key: str(value)
            for key, value in (metadata.get(field) or {}).items()
            if not _of_kserve(key) and not key.startswith("kubectl.kubernetes.io/")
        }
        if own:
            found[field] = own
    return found
