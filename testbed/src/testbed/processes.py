"""Starts and ends the testbed's processes; nothing else does.

A machine (the testbed as a whole, the control plane, each node) is a process and mount namespace whose first
process is `supervisor.py`. When that process ends, the kernel ends every process of the machine and takes its
mounts apart. A machine inside another ends with it. The supervisor records itself before anything else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.errors import CommandFailedError, NotReadyInTimeError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
HOST_PROC = "/run/host-proc"
PRIVATE = ("/run", "/var/lib", "/var/log")


@dataclass(frozen=True)
class ProcessRecord:
    """A process that cannot be mistaken for another: its number, its start in clock ticks, and the boot."""

    pid: int
    start: int
    boot: str

    def alive(self, procfs: Path = Path("/proc")) -> bool:
        """False as well when the number has gone to another process."""
        try:
            if (procfs / "sys/kernel/random/boot_id").read_text().strip() != self.boot:
                return False
            state, *fields = (procfs / str(self.pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return int(fields[18]) == self.start and state not in "ZX"

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Daemon:
    """A program that runs for as long as its machine. `after`: unix:PATH or tcp:HOST:PORT that it waits
    for.
    """

    name: str
    argv: Sequence[str]
    after: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """A machine by name. `folder` holds its record and spec, `logs` one file per daemon.

    `keep` stays visible in it; `binds` are further names that folders have in it.
    """

    name: str
    folder: Path
    logs: Path
    keep: Sequence[Path]
    binds: Mapping[str, Path] = field(default_factory=dict)

    @property
    def record_file(self) -> Path:
        return self.folder / f"{self.name}.pid.json"

    @property
    def status_file(self) -> Path:
        return self.folder / f"{self.name}.status.json"

    def record(self) -> ProcessRecord | None:
        """The machine's first process, if it is alive."""
        record = ProcessRecord.read(self.record_file)
        return record if record and record.alive() else None

    def daemons(self) -> dict[str, dict[str, Any]]:
        """What the supervisor last said of its daemons: running, starts, exit (status of the last end)."""
        try:
            status: dict[str, dict[str, Any]] = json.loads(self.status_file.read_text())
        except (OSError, ValueError):
            return {}
        return status

    def start(
        self,
        daemons: Sequence[Daemon],
        inside: ProcessRecord | None = None,
        netns: str | None = None,
        lock_fd: int | None = None,
        deadline_seconds: float = 20,
    ) -> ProcessRecord:
        """Starts the machine, inside another one and in one of that one's network namespaces if given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        for stale in (self.record_file, self.status_file):
            stale.unlink(missing_ok=True)
        spec = self.folder / f"{self.name}.spec.json"
        spec.write_text(json.dumps(self._spec(daemons, inside, lock_fd), indent=1))
        log = self.logs / f"{self.name}.log"
        argv = [sys.executable, "-I", "-S", str(SUPERVISOR), str(spec), str(log)]
        if inside is not None:
            argv = [*entering(inside, netns), *argv]
        run(argv, pass_fds=() if lock_fd is None else (lock_fd,))
        wait_until(
            lambda: self.record() is not None and bool(self.status_file.exists()),
            deadline_seconds,
            lambda: f"machine {self.name} did not start: {tail(log)}",
        )
        record = self.record()
        if record is None:
            raise NotReadyInTimeError(f"machine {self.name} ended at once: {tail(log)}")
        return record

    def _spec(
        self, daemons: Sequence[Daemon], inside: ProcessRecord | None, lock_fd: int | None
    ) -> dict[str, object]:
        return {
            "record": str(self.record_file),
            "procfs": "/proc" if inside is None else HOST_PROC,
            "status": str(self.status_file),
            "lock_fd": lock_fd,
            "private": PRIVATE,
            "keep": [str(path) for path in self.keep],
            "binds": {target: str(source) for target, source in self.binds.items()},
            "daemons": [
                {
                    "name": daemon.name,
                    "argv": list(daemon.argv),
                    "log": str(self.logs / f"{daemon.name}.log"),
                    "after": daemon.after,
                    "env": dict(daemon.env),
                }
                for daemon in daemons
            ],
        }

    def kill(self, deadline_seconds: float = 30) -> None:
        """Ends the machine like a power cut: all of its processes at once. Nothing to do when it is not
        running.
        """
        record = self.record()
        if record is not None:
            kill(record)
            wait_until(
                lambda: not record.alive(),
                deadline_seconds,
                lambda: f"machine {self.name} (process {record.pid}) does not end",
            )
        self.record_file.unlink(missing_ok=True)
        self.status_file.unlink(missing_ok=True)


def kill(record: ProcessRecord) -> None:
    """Sends SIGKILL to exactly the recorded process, never to one that got its number later."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if record.alive():  # asked after the handle was taken: the handle cannot change its meaning
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def entering(machine: ProcessRecord, netns: str | None = None, *, own_network: bool = False) -> list[str]:
    """Argv prefix that runs a program inside a machine: its processes, its mounts and, if asked, its
    network.
    """
    argv = ["nsenter", "--target", str(machine.pid), "--pid", "--mount"]
    if netns is not None:
        argv.append(f"--net=/proc/{machine.pid}/root/run/netns/{netns}")
    elif own_network:
        argv.append("--net")
    return [*argv, "--"]


def working(machine: ProcessRecord) -> list[str]:
    """Argv prefix for long work inside a machine: the work ends when who asked for it does."""
    return [*entering(machine), "setpriv", "--pdeathsig", "KILL", "--"]


def run(
    argv: Sequence[str],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    timeout_seconds: float | None = None,
) -> str:
    """Runs a program to its end and returns what it printed; CommandFailedError holds what it said when it
    fails.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise CommandFailedError(argv, 127, f"no program {error.filename}") from None
    except subprocess.TimeoutExpired:
        raise CommandFailedError(argv, 124, f"no end after {timeout_seconds:g} s") from None
    if done.returncode:
        raise CommandFailedError(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def succeeds(argv: Sequence[str], timeout_seconds: float | None = 10) -> bool:
    """Whether the program ends with 0."""
    try:
        run(argv, timeout_seconds=timeout_seconds)
    except CommandFailedError:
        return False
    return True


def wait_until(
    condition: Callable[[], bool],
    deadline_seconds: float,
    state: Callable[[], str],
    every_seconds: float = 0.1,
) -> None:
    """Polls until the condition holds; when the deadline passes, NotReadyInTimeError says what the state
    is.
    """
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReadyInTimeError(f"not within {deadline_seconds:g} s: {state()}")
        time.sleep(every_seconds)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, or a sentence on why there are none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) or f"{path} is empty"
    except OSError:
        return f"no {path}"
