"""Findings of a trial about a slice that runs: a registry with one entry per finding, in order.

An examiner runs in the trial process, so it can use imports and memory that the runtime should not. Its
result is stored in the verdict under its name, as JSON; None is not stored. Slices are tried again if the
names here change, so a finding with another meaning needs another name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.sessions import Session
from edge_runtime.json_values import Json

_ROWS: Final = "rows"


@dataclass(frozen=True, slots=True)
class Examined:
    """A slice that was loaded and has run: its session, and its bytes or their file."""

    session: Session
    source: bytes | Path

    def data(self) -> bytes:
        """The file's bytes."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source


def _peak(_: Examined) -> Json:
    """Maximum memory of the process since its start, in bytes: an upper bound for this slice."""
    status = Path("/proc/self/status")  # getrusage would include the parent's memory before the exec
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.exists() else "")
    return None if found is None else int(found[1]) << 10


def _seconds(examined: Examined) -> Json:
    """Seconds of one run."""
    return examined.session.seconds


def _rows(examined: Examined) -> Json:
    """Properties proven by the graph, which needs onnx; see `proven`."""
    return examined.session.proven.document()


EXAMINERS: Final[Mapping[str, Callable[[Examined], Json]]] = MappingProxyType(
    {"peakBytes": _peak, "runSeconds": _seconds, _ROWS: _rows}
)


def proven(findings: Mapping[str, Json]) -> ProvenProperties | None:
    """Properties of the slice's graph in a trial's findings; None if they are missing or damaged."""
    found = findings.get(_ROWS)
    if not isinstance(found, dict):
        return None
    said = {name: text for name, text in found.items() if isinstance(text, str)}
    try:
        return ProvenProperties.of(said)
    except KeyError:
        return None
