"""The held-out images that the demo sends, in the same order in every run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 11


@dataclass(frozen=True)
class LabeledImages:
    """Images FP32 [n, 1, height, width] in 0..1, as the model expects them, and their labels [n]."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @classmethod
    def load(cls, path: Path, offset: int = 0) -> LabeledImages:
        """Reads `heldout.npz`; `offset` rotates the order, so that nodes send different images at a time."""
        with np.load(path) as held_out:
            images, labels = held_out["images"], held_out["labels"]
        order = np.roll(np.random.default_rng(SEED).permutation(len(labels)), -offset)
        return cls(images[order].astype(np.float32) / 255, labels[order].astype(np.int64))
