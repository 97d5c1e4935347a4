"""ONNX Runtime's execution providers. A provider is added here; the image has the package that brings it.

Of those that EDGE_EXECUTION_PROVIDERS lists, the first one that the installed onnxruntime has runs all
sessions. Verdicts of trials are kept for each provider, and device classes are measured with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Provider:
    """One execution provider.

    Attributes:
        name: As ONNX Runtime calls it.
        label: As manifests and the variable call it.
        settings: Its settings by name, as ONNX Runtime takes them.
        native: Whether sessions can be opened by the C interface without loading the Python package.
        built_in: Whether every build of ONNX Runtime has it.
    """

    name: str
    label: str
    settings: Mapping[str, str] = field(default_factory=dict)
    native: bool = False
    built_in: bool = False


VARIABLE: Final = "EDGE_EXECUTION_PROVIDERS"
"""Labels of providers in order of preference, with commas between; empty: the CPU."""

CPU: Final = Provider("CPUExecutionProvider", "CPU", native=True, built_in=True)

PROVIDERS: Final = (
    Provider("OpenVINOExecutionProvider", "OpenVINO", {"device_type": "CPU"}),
    Provider("TensorrtExecutionProvider", "TensorRT"),
    Provider("CUDAExecutionProvider", "CUDA"),
    Provider("ACLExecutionProvider", "ACL"),
    Provider("CoreMLExecutionProvider", "CoreML"),
    CPU,
)
"""The last one is built in, and runs the operators that others do not have."""


def wanted(labels: str, providers: Sequence[Provider] = PROVIDERS) -> tuple[Provider, ...]:
    """Returns the providers that a value of the variable lists, and then the CPU.

    Raises BadRequest for a label that no provider has.
    """
    by_label = {each.label: each for each in (*providers, CPU)}
    names = [name.strip() for name in labels.split(",") if name.strip()]
    unknown = next((name for name in names if name not in by_label), None)
    if unknown is not None:
        known = ", ".join(by_label)
        raise BadRequest(f"{VARIABLE}: {shown(unknown)} is not a provider: write some of {known}")
    return tuple(by_label[name] for name in dict.fromkeys([*names, CPU.label]))


def preferred(available: Callable[[], Collection[str]], providers: Sequence[Provider]) -> Provider:
    """Returns the first provider that is built in or available; `available` is only called if needed."""
    return next(each for each in providers if each.built_in or each.name in available())


def in_order(first: Provider) -> list[tuple[str, dict[str, str]]]:
    """Returns the providers of a session with their settings; operators that `first` lacks run on the CPU."""
    found = [first] if first.name == CPU.name else [first, CPU]
    return [(each.name, dict(each.settings)) for each in found]
