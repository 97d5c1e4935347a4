"""Reads a file in a process of its own, in which `ConnectionGuard` checks every connection. Blocking.

The libraries of buckets and of registries stay out of the store's process, and see only the variables that
they need.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from edge_runtime import errors
from edge_runtime.errors import EdgeError, StorageError, Unreachable
from edge_runtime.store.downloads import check_rate
from edge_runtime.store.reachable import Reachable
from edge_runtime.store.receiving import Receiver

_VARIABLES: Final = (
    "PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "LANG", "LC_ALL",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "HF_ENDPOINT", "STORAGE_EMULATOR_HOST",
)  # fmt: skip
"""Variables without credentials, which name places."""
_ALWAYS: Final = {
    # No files of this machine, and no credentials of its node.
    "HOME": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_GCE_CHECK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    # Over HTTP alone: the connections of Xet and of gRPC are not Python's, and no hook sees them.
    "HF_HUB_DISABLE_XET": "1",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
}
_TRIES: Final = 5
"""Attempts in a row that bring no byte, before the file counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a Secret gives. variables: by the names of the client libraries. folder: its keys as files."""

    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def file(self, *names: str) -> Path | None:
        """Returns the first of the files that the Secret has."""
        if self.folder is None:
            return None
        return next((path for name in names if (path := self.folder / name).is_file()), None)


NO_CREDENTIALS: Final = Credentials()


def read_apart(
    scheme: str,
    target: str,
    receiver: Receiver,
    said: str,
    allowed: Reachable,
    credentials: Credentials = NO_CREDENTIALS,
) -> None:
    """Passes a file to `receiver`; after a break, the rest is requested again.

    Raises NotFound, Refused, Unreachable, BadRequest and DigestMismatch, beginning with `said`, and errors of
    `receiver`.
    """
    counted = _Counted(receiver, said)
    fruitless = 0
    while True:
        counted.written = 0
        try:
            _read(scheme, target, counted, said, allowed, credentials)
        except Unreachable:
            fruitless = 0 if counted.written else fruitless + 1
            if fruitless >= _TRIES or not counted.began:
                raise
        else:
            return


def _read(
    scheme: str, target: str, receiver: Receiver, said: str, allowed: Reachable, credentials: Credentials
) -> None:
    logins = credentials.file(".dockerconfigjson", "config.json")
    request = {
        "scheme": scheme,
        "target": target,
        "said": said,
        "internal": [*allowed.hosts, *map(str, allowed.networks)],
        "plain": sorted(allowed.plain),
        "logins": None if logins is None else str(logins),
        "credentials": bool(credentials.variables) or credentials.folder is not None,
    }
    with _process(credentials) as (requests, responses):
        requests.write(json.dumps(request).encode() + b"\n")
        requests.flush()
        while line := responses.readline():
            found: dict[str, Any] = json.loads(line)
            if "bytes" in found:
                receiver.write(responses.read(found["bytes"]))
            elif "reason" in found:
                raise _error(found["reason"])(found["message"])
            elif "end" in found:
                return
            else:
                requests.write(b"%d\n" % receiver.begin(found["size"], found["version"]))
                requests.flush()
    raise Unreachable(f"{said} cannot be read (the process that reads it ended)")


@contextlib.contextmanager
def _process(credentials: Credentials) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    account = credentials.file("gcloud-application-credentials.json")
    if account is not None:
        environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(account)
    command = [sys.executable, "-m", "edge_runtime.store.remote.child"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | dict(credentials.variables) | _ALWAYS,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdin, process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.stdin.close()


def _error(reason: str) -> type[EdgeError]:
    kind = getattr(errors, reason, StorageError)
    return kind if isinstance(kind, type) and issubclass(kind, EdgeError) else StorageError


class _Counted:
    """A `Receiver` that tells whether it received anything. Raises Unreachable for too few bytes a second."""

    def __init__(self, receiver: Receiver, said: str) -> None:
        self._receiver, self._said = receiver, said
        self.began, self.written, self._since = False, 0, 0.0

    def begin(self, size: int | None, version: str = "") -> int:
        offset = self._receiver.begin(size, version)
        self.began, self._since = True, time.monotonic()
        return offset

    def write(self, chunk: bytes) -> None:
        self._receiver.write(chunk)
        self.written += len(chunk)
        check_rate(self.written, time.monotonic() - self._since, self._said)
