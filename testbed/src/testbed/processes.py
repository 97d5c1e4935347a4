"""Starts and ends the testbed's processes; no other module does.

A machine (the testbed as a whole, the control plane, each node) is a process and mount namespace whose first
process is `supervisor.py`. When that process ends, the kernel ends every process of the machine and removes
its mounts. A machine inside another one ends with it. The supervisor first of all records itself.
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
    """The unique identity of a process: its number, its start in clock ticks, and the boot."""

    pid: int
    start: int
    boot: str

    def alive(self, procfs: Path = Path("/proc")) -> bool:
        """Whether it still runs; False if another process has got its number."""
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
class DaemonSpec:
    """A program that runs as long as its machine. `after`: unix:PATH or tcp:HOST:PORT to wait for.

    once: whether it may end: it is started again only after it failed.
    """

    name: str
    argv: Sequence[str]
    after: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    once: bool = False


@dataclass(frozen=True)
class Machine:
    """A machine by name. `folder` holds its record and spec, `logs` one file per daemon.

    `keep` stays visible in it; `binds` are additional mount points of folders.
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
        """Returns the machine's first process, if it runs."""
        record = ProcessRecord.read(self.record_file)
        return record if record and record.alive() else None

    def daemons(self) -> dict[str, dict[str, Any]]:
        """Returns the supervisor's last report of its daemons: running, starts, exit (last exit status)."""
        try:
            status: dict[str, dict[str, Any]] = json.loads(self.status_file.read_text())
        except (OSError, ValueError):
            return {}
        return status

    def start(
        self,
        daemons: Sequence[DaemonSpec],
        inside: ProcessRecord | None = None,
        netns: str | None = None,
        lock_fd: int | None = None,
        deadline_seconds: float = 20,
    ) -> ProcessRecord:
        """Starts the machine, inside another one and one of its network namespaces if given."""
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
            raise NotReadyInTimeError(f"machine {self.name} ended immediately: {tail(log)}")
        return record

    def _spec(
        self, daemons: Sequence[DaemonSpec], inside: ProcessRecord | None, lock_fd: int | None
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
                    "once": daemon.once,
                }
                for daemon in daemons
            ],
        }

    def kill(self, deadline_seconds: float = 30) -> None:
        """Kills all processes of the machine, like a power cut. Does nothing if it is not running."""
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
    """Sends SIGKILL to the recorded process alone, never to one that got its number later."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if record.alive():  # checked after opening the handle, which always refers to the same process
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def entering(machine: ProcessRecord, netns: str | None = None, *, own_network: bool = False) -> list[str]:
    """Returns the argv prefix that runs a program in a machine's namespaces: processes, mounts, network."""
    argv = ["nsenter", "--target", str(machine.pid), "--pid", "--mount"]
    if netns is not None:
        argv.append(f"--net=/proc/{machine.pid}/root/run/netns/{netns}")
    elif own_network:
        argv.append("--net")
    return [*argv, "--"]


def working(machine: ProcessRecord) -> list[str]:
    """Returns the argv prefix for long work in a machine, which ends with the calling process."""
    return [*entering(machine), "setpriv", "--pdeathsig", "KILL", "--"]


def ending_with(parent: int) -> list[str]:
    """Returns the argv prefix of a child of `parent` that ends with it, also if it has ended by now."""
    # Between the start of a child and its request for a signal, the parent can end unnoticed.
    return [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "sh",
        "-c",
        '[ "$PPID" = "$0" ] && exec "$@"',
        str(parent),
    ]


def run(
    argv: Sequence[str],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    timeout_seconds: float | None = None,
) -> str:
    """Runs a program and returns its output. Raises CommandFailedError with the output if it fails."""
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
    """Whether the program exits with 0."""
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
    """Polls until the condition holds. Raises NotReadyInTimeError with the state at the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReadyInTimeError(f"not within {deadline_seconds:g} s: {state()}")
        time.sleep(every_seconds)


def tail(path: Path, lines: int = 15) -> str:
    """Returns the last lines of a log, or why there are none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) or f"{path} is empty"
    except OSError:
        return f"no {path}"
