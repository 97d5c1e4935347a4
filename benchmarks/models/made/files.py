"""All made networks, and their files."""

from pathlib import Path
from typing import Final

from benchmarks.models.made.control_flow import CONTROL_FLOW
from benchmarks.models.made.file_forms import FILE_FORMS
from benchmarks.models.made.networks import MadeModel
from benchmarks.models.made.number_formats import NUMBER_FORMATS
from benchmarks.models.made.opsets import OPSETS
from benchmarks.models.made.results import RESULTS

MADE: Final[tuple[MadeModel, ...]] = (*CONTROL_FLOW, *NUMBER_FORMATS, *RESULTS, *FILE_FORMS, *OPSETS)


def written(made: MadeModel, folder: Path) -> Path:
    """Writes the file of a network and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{made.name}.onnx"
    made.write(made.model(), path)
    return path
