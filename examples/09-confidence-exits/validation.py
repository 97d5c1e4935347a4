"""Writes the held-out images of 01-digits as validation data: arrays `inputs` and `labels`.

python examples/09-confidence-exits/validation.py build/digits/heldout.npz build/digits/validation.npz
"""

import sys
from pathlib import Path

import numpy as np


def main(source: Path, target: Path) -> None:
    """Renames the arrays of a file. Raises SystemExit if the file does not exist."""
    if not source.exists():
        raise SystemExit(f"{source}: not found: run examples/01-digits/train.py first")
    with np.load(source) as held_out:
        images = held_out["images"].astype(np.float32) / 255  # as the model takes them
        np.savez_compressed(target, inputs=images, labels=held_out["labels"])
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
