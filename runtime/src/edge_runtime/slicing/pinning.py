"""`python -m edge_runtime.slicing.pinning MODEL`: writes the digests of a model's data into its file."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx

from edge_runtime.errors import EdgeError
from edge_runtime.slicing.tensordata import pinned, pins


def main(argv: list[str] | None = None) -> int:
    """Rewrites the file in place. Returns 1 with a message if its data is missing."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -m edge_runtime.slicing.pinning MODEL", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        model = pinned(onnx.load_model(path, load_external_data=False), path.parent)
        path.write_bytes(model.SerializeToString())
    except (EdgeError, OSError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    for location, digest in pins(model).items():
        print(f"{location} {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
