"""The process that reads one file by client libraries: `python -m edge_runtime.store.remote.child`.

It reads a request from stdin, a line of JSON. It writes lines of JSON that are followed by bytes to stdout:
`{"size", "version"}` is answered by the offset from which the bytes follow, and `{"bytes"}` says how many
follow; `{"end"}` ends the file, `{"reason", "message"}` says why it cannot be read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO

from edge_runtime import errors
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.store.reachable import Reachable, internal_places
from edge_runtime.store.remote.buckets import read_bucket
from edge_runtime.store.remote.connections import ConnectionGuard
from edge_runtime.store.remote.registries import logins_of, read_image


class _Pipe:
    """A `Receiver` at the other end of the pipe."""

    def __init__(self, requests: IO[bytes], responses: IO[bytes]) -> None:
        self._requests, self._responses = requests, responses

    def begin(self, size: int | None, version: str = "") -> int:
        self._say({"size": size, "version": version})
        return int(self._requests.readline())

    def write(self, chunk: bytes) -> None:
        self._say({"bytes": len(chunk)})
        self._responses.write(chunk)

    def end(self) -> None:
        self._say({"end": True})

    def fail(self, error: EdgeError) -> None:
        self._say({"reason": error.reason, "message": str(error)})

    def _say(self, line: dict[str, object]) -> None:
        self._responses.write(json.dumps(line).encode() + b"\n")
        self._responses.flush()


def main() -> int:
    """Reads the file of the request."""
    pipe, request = _Pipe(sys.stdin.buffer, sys.stdout.buffer), json.loads(sys.stdin.buffer.readline())
    sys.stdout = sys.stderr  # what a library prints is not of the file
    hosts, networks = internal_places(request["internal"])
    plain = frozenset(request["plain"])
    guard = ConnectionGuard(Reachable((), hosts, networks, plain))
    guard.install()
    scheme, target, said = request["scheme"], request["target"], request["said"]
    try:
        if scheme == "oci":
            logins = logins_of(Path(request["logins"])) if request["logins"] else {}
            read_image(target, pipe, said, logins, plain)
        else:
            read_bucket(scheme, target, pipe, said, credentials=request["credentials"])
        pipe.end()
    except EdgeError as error:
        if guard.refused and isinstance(error, errors.Unreachable | Refused):
            error = Refused(
                f"{said} is at the internal address {guard.refused[-1]}: upload the file and use store://, "
                f"or allow the host with --allow-internal (chart value store.allowInternal)"
            )
        pipe.fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
