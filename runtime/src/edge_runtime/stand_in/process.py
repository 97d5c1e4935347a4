"""Serves each runtime's ports from the disk while its pod does not, and hands over to the pod. Blocking.

Ends when each runtime of the node has its pod. Twice a second it reads the folders of the node's pods and
sends up to four requests for each runtime; once all have their pods it costs nothing, because it has ended.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotListen
from edge_runtime.stand_in import looks, redirects
from edge_runtime.stand_in.kept_runtimes import KeptRuntime, Key, copy_cache, kept_runtimes
from edge_runtime.stand_in.phases import Phase, Process, Seen, follow
from edge_runtime.stand_in.redirects import Redirects

_log = logging.getLogger(__name__)

USER: Final = 65532
"""As whom runtimes run in pods, too."""
PORTS: Final = {"http": 8080, "grpc": 8081}
"""Of the runtimes in pods."""
_NO_STORE: Final = "http://127.0.0.1:9"
"""What is not on the disk is not fetched: the names of the cluster mean nothing to the host."""
_EVERY: Final = 0.5
_DRAIN: Final = "10s"
_END: Final = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a process stands in.

    program: the words that start this program. unit_file: ends when it is removed; None: no unit. patience:
    seconds that pods have after the start of the host. user: and group that serve; None: those of this
    process.
    """

    program: Sequence[str]
    kubelet: Path
    folder: Path
    nft: Path
    patience: float
    unit_file: Path | None = None
    user: int | None = USER


@dataclass(slots=True)
class _Served:
    """A runtime with the process that serves in its place, and its last state."""

    runtime: KeptRuntime
    phase: Phase
    pod: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False


class StandIn:
    """Stands in for the runtimes of this node."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = threading.Event()
        self._served: dict[Key, _Served] = {}
        self._applied: Redirects | None = None

    def run(self) -> None:
        """Returns when each runtime has its pod, when the unit is removed, or after SIGTERM.

        Raises CannotListen if the node's ports cannot be led here.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        began = time.monotonic()
        for key, runtime in kept_runtimes(self._options.kubelet).items():
            if runtime.ports:
                self._served[key] = _Served(runtime, Phase("Waiting", began))
            else:
                _log.info("%s: no service declares ports of nodes (spec.exposure): not served", key.name)
        try:
            redirects.apply(Redirects(), self._options.nft)  # of a process before this one
            while not self._ended():
                self._turn()
                self._stop.wait(_EVERY)
        finally:
            self._end()

    def stop(self) -> None:
        """Has `run` end soon."""
        self._stop.set()

    def _ended(self) -> bool:
        if self._stop.is_set() or all(each.phase.name == "Done" for each in self._served.values()):
            return True
        unit = self._options.unit_file
        return unit is not None and not unit.exists()

    def _turn(self) -> None:
        kept = kept_runtimes(self._options.kubelet)
        for key, served in self._served.items():
            before = served.phase
            if before.name == "Done":
                continue
            served.runtime = kept.get(key, served.runtime)
            served.pod = self._pod(served) if key in kept else ""
            seen = Seen(key in kept, served.pod, self._led(served), self._state(served))
            served.phase = follow(before, seen, time.monotonic(), self._options.patience)
            if served.phase != before:
                _log.info("%s: %s (pod %s)", key.name, served.phase.name, served.pod or "not ready")
            if served.phase.name == "StandingIn" and served.process is None:
                self._start(served)
        self._apply()
        for served in self._served.values():
            # After the rules: new connections no longer reach the process.
            if served.phase.name == "Draining" and served.process is not None:
                served.process.terminate()

    def _pod(self, served: _Served) -> str:
        """The address of the runtime's pod that is ready; empty: none."""
        services = served.runtime.services
        found = (each for each in served.runtime.addresses if looks.ready(each, PORTS["http"], services))
        return next(found, "")

    def _led(self, served: _Served) -> bool:
        """Whether the cluster's own rules lead all ports of the node to the pod."""
        if served.phase.name != "HandingOver" or not served.pod:
            return False
        node, own = looks.node_address(), looks.instance(served.pod, PORTS["http"])
        return bool(own) and all(
            looks.instance(node, port, by_cluster=True) == own
            if name == "http"
            else looks.accepts(node, port, by_cluster=True)
            for port, name in served.runtime.ports.items()
        )

    def _state(self, served: _Served) -> Process:
        if served.process is None:
            return "None"
        if (code := served.process.poll()) is not None:
            if served.phase.name != "Draining":
                _log.warning("%s: the process ended with status %d", served.runtime.key.name, code)
            served.process, served.ready = None, False
            return "None"
        served.ready = served.ready or looks.ready(
            looks.LOOPBACK, served.ports["http"], served.runtime.services
        )
        return "Ready" if served.ready else "Starting"

    def _start(self, served: _Served) -> None:
        """Starts the process on free ports; after a failure, the next turn tries again."""
        options, runtime = self._options, served.runtime
        cache = options.folder / "serving" / runtime.key.name
        try:
            copy_cache(runtime, cache, options.user)
        except OSError as error:
            _log.warning("%s: the files of its pod cannot be copied: %s", runtime.key.name, error)
            return
        served.ports = {name: looks.free_port() for name in PORTS}
        command = [
            *(*options.program, "run", "--from-disk", "--cache-dir", str(cache)),
            *("--namespace", runtime.key.namespace, "--node", runtime.node, "--store", _NO_STORE),
            *(("--service", runtime.key.service) if runtime.key.service else ()),
            *("--http-port", str(served.ports["http"]), "--grpc-port", str(served.ports["grpc"])),
            *("--drain", _DRAIN),
        ]
        served.ready = False
        try:
            served.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                cwd="/",
                user=options.user,
                group=options.user,
                extra_groups=None if options.user is None else [],
            )
        except OSError as error:
            raise CannotListen(
                f"{options.program[0]} cannot be run by user {options.user} ({error.strerror}): let all "
                "users read its folder"
            ) from error

    def _apply(self) -> None:
        """Applies the rules that the phases need, if they have changed."""
        here: dict[int, int] = {}
        pods: dict[int, tuple[str, int]] = {}
        for served in self._served.values():
            for port, name in served.runtime.ports.items():
                if served.phase.name == "StandingIn" and served.ready:
                    here[port] = served.ports[name]
                elif served.phase.name == "HandingOver":
                    pods[port] = served.pod, PORTS[name]
        wanted = Redirects(here, pods)
        if wanted != self._applied:
            redirects.apply(wanted, self._options.nft)
            self._applied = wanted

    def _end(self) -> None:
        """Ends all processes after their requests; the ports lead where the cluster's rules lead."""
        try:
            redirects.apply(Redirects(), self._options.nft)
        except CannotListen as error:
            _log.warning("%s", error)
        running = [each.process for each in self._served.values() if each.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + _END
        for process in running:
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._options.folder / "serving", ignore_errors=True)
