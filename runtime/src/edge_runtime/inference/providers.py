"""ONNX Runtime's execution providers. A provider is added here; the package that brings it is an extra.

The first one that the installed onnxruntime has runs all sessions, so the image decides. Verdicts of trials
are kept for each provider, and device classes are measured with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """One execution provider.

    Attributes:
        name: As ONNX Runtime calls it.
        settings: Its settings by name, as ONNX Runtime takes them.
        native: Whether sessions can be opened by the C interface without loading the Python package.
        built_in: Whether every build of ONNX Runtime has it.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    native: bool = False
    built_in: bool = False


CPU: Final = Provider("CPUExecutionProvider", native=True, built_in=True)

PROVIDERS: Final = (CPU,)
"""In order of preference. The last one is built in, and runs the operators that others do not have."""


def preferred(
    available: Callable[[], Collection[str]], providers: Sequence[Provider] = PROVIDERS
) -> Provider:
    """Returns the first provider that is built in or available; `available` is only called if needed."""
    return next(each for each in providers if each.built_in or each.name in available())


def in_order(first: Provider) -> list[tuple[str, dict[str, str]]]:
    """Returns the providers of a session with their settings; operators that `first` lacks run on the CPU."""
    found = [first] if first.name == CPU.name else [first, CPU]
    return [(each.name, dict(each.settings)) for each in found]
