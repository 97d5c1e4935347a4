"""Sends a second of noise to the voice detector as one sequence, and prints the probability of speech.

python examples/04-voice/stream.py --address localhost:8080
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import tritonclient.http as http

RATE, CHUNK, BEFORE = 16000, 512, 64  # samples: a second, a chunk, and what a chunk has of the one before


def chunks(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Iterator[np.ndarray]:
    """The chunks of a recording, each after the last samples of the one before: shape [1, 576]."""
    padded = np.concatenate([np.zeros(BEFORE, np.float32), samples])
    for start in range(0, len(samples) - CHUNK + 1, CHUNK):
        yield padded[np.newaxis, start : start + BEFORE + CHUNK]


def tensor(name: str, array: np.ndarray, datatype: str) -> http.InferInput:
    """An input of a request."""
    made = http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="HOST:PORT of the service")
    parser.add_argument("--model", default="voice")
    parser.add_argument("--sequence", type=int, default=1, help="number of the sequence")
    options = parser.parse_args(arguments)
    parts = list(chunks(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)))
    rate = tensor("sr", np.array(RATE, np.int64), "INT64")
    with http.InferenceServerClient(options.address) as client:
        for i, part in enumerate(parts):
            answer = client.infer(
                options.model,
                [tensor("input", part, "FP32"), rate],
                sequence_id=options.sequence,
                sequence_start=i == 0,
                sequence_end=i == len(parts) - 1,
            )
            print(f"{i * CHUNK / RATE:5.2f} s  {float(answer.as_numpy('output')[0, 0]):.4f}")


if __name__ == "__main__":
    main()
