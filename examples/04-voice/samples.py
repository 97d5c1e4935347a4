"""Writes a few chunks of noise as inputs to measure the voice detector on.

python examples/04-voice/samples.py build/voice-samples.npz
"""

import sys
from pathlib import Path

import numpy as np

SAMPLES, WIDTH, RATE = 4, 576, 16000
STATE = (2, 1, 128)


def main(target: Path) -> None:
    """Writes an array named after each input: one sample after the other, and the rate of all of them."""
    noise = np.random.default_rng(0).normal(0, 0.1, (SAMPLES, 1, WIDTH)).astype(np.float32)
    state = np.zeros((SAMPLES, *STATE), np.float32)
    np.savez_compressed(target, input=noise, state=state, sr=np.array(RATE, np.int64))
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
