"""The process of a client that keeps requests open; only this module starts, stops or ends it."""

from __future__ import annotations

import contextlib
import json
import subprocess

from benchmarks.sharing.backlog import READY, Received
from testbed.errors import NotReadyInTimeError


class BacklogProcess:
    """A client, `benchmarks.sharing.backlog`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_ready(self) -> None:
        """Waits until the client can send. Raises NotReadyInTimeError if it ended."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if line.strip() != READY:
            raise NotReadyInTimeError(f"a client ended before it was ready: {line.strip() or 'no output'}")

    def start(self) -> None:
        """Lets the client send."""
        self._tell("start")

    def stop(self) -> None:
        """Lets the client send nothing after the responses that it waits for."""
        self._tell("stop")

    def received(self) -> Received:
        """Ends the client; returns what came back. Raises NotReadyInTimeError if it ended before."""
        out, _ = self._process.communicate()
        if not out.strip():
            raise NotReadyInTimeError(f"a client ended with status {self._process.returncode} and no results")
        return Received(**json.loads(out))

    def end(self) -> None:
        """Ends the process if it runs."""
        with contextlib.suppress(OSError):  # what was not sent stays so
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _tell(self, command: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # `received` reports that it ended
                self._process.stdin.write(command + "\n")
                self._process.stdin.flush()
