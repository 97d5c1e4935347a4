"""Uploads a file to the model store: `python -m demo.uploading URL FILE`, with the token on the input.

A process of its own can run in the network of a node. Prints the store's response.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

WITHIN = 300.0


def put(url: str, file: Path, token: str) -> str:
    """Sends the file with a ServiceAccount token. Raises OSError with the store's message."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, file.read_bytes(), headers, method="PUT")  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as response:  # noqa: S310
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        raise OSError(f"PUT {url} returned {error.code} {error.read().decode()}") from error


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    url, file = argv
    try:
        sys.stdout.write(put(url, Path(file), sys.stdin.read().strip()))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
