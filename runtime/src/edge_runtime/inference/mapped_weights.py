"""Loads a large file so that onnxruntime maps its weights from the disk instead of copying them.

A session of the whole bytes needs three to four times their size: the bytes, the parsed message, the weights,
and the weights in the layout that the operators read fastest (packed). Here onnxruntime gets the model
without its weights, and their places in the file. Packed weights replace the mapped ones, so that they are in
memory once, and twice while convolutions are packed. Without packing, the pages of the file are the only
copy, shared with other processes; the kernel can drop them and read them again.

The weights begin anywhere in the file, not at multiples of their size: the processors for which onnxruntime
is built read them from there as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_runtime.graph_analysis.detached_weights import detached

LARGE: Final = 4 << 20
"""Bytes from which a file is mapped."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a session's weights are. size: bytes of the file that has them.

    folder: of that file; None if the model's bytes have them. packed: whether operators convert weights to
    the layout that they read fastest.
    """

    folder: Path | None = None
    size: int = 0
    packed: bool = True

    @property
    def settings(self) -> Mapping[str, str]:
        """Entries of onnxruntime's session configuration."""
        found = {}
        if self.folder is not None:
            found["session.model_external_initializers_file_folder_path"] = str(self.folder)
        if not self.packed:
            found["session.disable_prepacking"] = "1"
        return found


HERE: Final = Weights()
"""In the model's bytes."""


def divided(file: Path, *, packed: bool = True) -> tuple[bytes, Weights] | None:
    """The model without the weights, and where they are; None for a file that is small or no model."""
    size = file.stat().st_size
    if size < LARGE:
        return None
    try:
        with file.open("rb") as opened:
            model = detached(opened, size, file.name)
    except ValueError:
        return None
    return model, Weights(file.parent, size, packed)
