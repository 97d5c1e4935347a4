"""Runs `edge-runtime` unchanged, with a thread that records how long the machine delayed it.

    python -m benchmarks.runtime.watched FILE run --service …

FILE gets one JSON line for each delay: {"kind", "at", "seconds"}.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

from benchmarks.runtime.delays import Kind, watch
from edge_runtime.cli import main


def run(file: Path, argv: list[str]) -> int:
    """Runs the command; returns its status."""
    with file.open("a", buffering=1) as lines:

        def write(kind: Kind, at: float, seconds: float) -> None:
            with suppress(ValueError):  # closed: the program ends
                lines.write(json.dumps({"kind": kind, "at": at, "seconds": seconds}) + "\n")

        watch(write)
        return main(argv)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
