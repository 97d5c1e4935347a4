"""Measures what packed weights of a model cost on this device, and what they save."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.mapped_weights import LARGE
from edge_runtime.inference.providers import CPU
from edge_runtime.inference.sessions import Session, provider
from edge_runtime.trials.admission import Subject, Trials

_DIGITS: Final = 4
_LEAST: Final = 0.001
"""Least memory for each byte of a file. The kernel can take more from the process than the model needs."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A model without packed weights, and the memory that it takes with and without.

    packed_memory, memory: the most bytes while it is loaded and run, for each byte of its file.
    """

    session: Session
    packed_memory: float
    memory: float

    def document(self, seconds: float, packed_seconds: float) -> dict[str, float]:
        """The measurement as in a DeviceProfile. seconds: of a run without packed weights, and with them."""
        found = {
            "slowdown": seconds / packed_seconds,
            "packedMemory": self.packed_memory,
            "unpackedMemory": self.memory,
        }
        return {name: float(f"{value:.{_DIGITS}g}") for name, value in found.items()}


def unpacked(trials: Trials, subject: Subject, threads: int) -> Unpacked | None:
    """Returns a model without packed weights, and loads it twice in the trial process to measure its memory.

    subject: with its bytes. None if there is no choice: the model is small, another execution provider than
    the CPU runs it, the device has too little memory to load it from a file, or the memory could not be
    measured while other programs took some.
    """
    if subject.size < LARGE or provider() is not CPU or isinstance(subject.source, Path):
        return None
    # The weights stay mapped without the file's name.
    with NamedTemporaryFile(suffix=".onnx") as file:
        file.write(subject.source)
        file.flush()
        path = Path(file.name)
        kept = replace(subject, source=path)
        most = [trials.memory(kept, packed=packed) for packed in (True, False)]
        try:
            session = Session(path, subject.inputs, subject.outputs, threads, mapped=True, packed=False)
        except CannotLoad:
            return None
    packed, memory = ((found or 0) / subject.size for found in most)
    return Unpacked(session, packed, memory) if min(packed, memory) >= _LEAST else None
