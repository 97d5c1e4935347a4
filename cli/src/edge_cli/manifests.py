"""A manifest of an InferenceService, from what an ONNX file tells and what a person says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge_api.quantities import Duration
from edge_api.validation_messages import problems
from edge_cli.errors import CommandError
from edge_planning.errors import PlanningError

_VERSION = "edge-intelligence.io/v1alpha1"
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a file tells of its model.

    Attributes:
        exits: Names, and accuracies where the file states them.
        cuts: Number of cuts of the full model.
        notes: What else a manifest may have to state.
    """

    exits: tuple[tuple[str, float | None], ...] = ()
    cuts: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says. latency: of the SLO, in seconds. min_accuracy: from 0 to 1; None: any."""

    name: str
    storage_uri: str
    device_pool: str
    latency: float
    min_accuracy: float | None = None
    namespace: str | None = None


def service_name(file: Path) -> str:
    """Returns a name for a service from the name of its file."""
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:_LONGEST].strip("-")
    return name if name[:1].isalpha() else f"model-{name}".rstrip("-")


def model_file(path: Path) -> ModelFile:
    """Reads an ONNX file. Raises CommandError if it cannot be read or is not ONNX."""
    from edge_planning.graphs.onnx_reading import read_model

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror}): name an ONNX file") from error
    try:
        model = read_model(data, name=path.stem)
    except PlanningError as error:
        if "open dimension" in str(error) or "shape" in str(error):
            return ModelFile(
                notes=(f"the file leaves shapes open: state them in spec.model.inputs ({error})",)
            )
        raise CommandError(f"{path}: {error}") from error
    exits = tuple((each.name, each.accuracy) for each in model.exits)
    notes = (
        () if len(exits) > 1 else ("the file lists no early exits: docs/frameworks.md says how to add some",)
    )
    return ModelFile(exits, len(model.exits[-1].cuts), notes)


def manifest(wishes: Wishes) -> dict[str, Any]:
    """Returns the manifest. Raises CommandError with the field that is wrong."""
    slo: dict[str, Any] = {"latency": str(Duration(wishes.latency))}
    if wishes.min_accuracy is not None:
        slo["minAccuracy"] = wishes.min_accuracy
    body: dict[str, Any] = {
        "apiVersion": _VERSION,
        "kind": "InferenceService",
        "metadata": {"name": wishes.name}
        | ({"namespace": wishes.namespace} if wishes.namespace is not None else {}),
        "spec": {
            "model": {"storageUri": wishes.storage_uri},
            "slo": slo,
            "devicePool": wishes.device_pool,
        },
    }
    if wrong := problems(body):
        raise CommandError(wrong[0])
    return body


def manifest_text(body: dict[str, Any], file: ModelFile | None = None, notes: Sequence[str] = ()) -> str:
    """Returns the manifest as YAML, with what the file tells as comments."""
    lines = []
    if file is not None and file.exits:
        told = ", ".join(name if share is None else f"{name} ({share:g})" for name, share in file.exits)
        lines.append(f"# exits: {told}; {file.cuts} cuts of the full model")
    lines += [f"# {note}" for note in (*(file.notes if file is not None else ()), *notes)]
    return "".join(f"{line}\n" for line in lines) + yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
