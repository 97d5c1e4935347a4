"""The first process of a machine's process and mount namespaces: starts daemons and restarts them.

Runs as a file of its own with the standard library only: `python -I -S supervisor.py SPEC LOG`. When it ends
for any reason, the kernel ends every process of the machine and removes its mounts. The testbed therefore
leaves nothing behind, even after a kill -9 at any point.

SPEC is JSON: {"record", "procfs", "status", "lock_fd", "private", "keep", "binds",
"daemons": [{"name", "argv", "log", "env", "after", "once"}]}. `private` folders get an empty file system of
their own, in which `keep` stays visible; `binds` are additional mount points of folders. `after` is
"unix:PATH" or "tcp:HOST:PORT": an address that must accept a connection before the daemon starts. `once`: a
daemon that ended with 0 is not started again.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
TICK_SECONDS = 0.1
IDLE_TICK_SECONDS = 2.0


def record_self(procfs: str, path: str) -> None:
    """Writes this process's number and start time as seen outside the machine."""
    pid = int(Path(procfs, "self").readlink().name)
    start = int(Path(procfs, str(pid), "stat").read_text().rpartition(")")[2].split()[19])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    write(path, {"pid": pid, "start": start, "boot": boot})


def write(path: str, value: object) -> None:
    """Replaces the file atomically."""
    unfinished = Path(path + ".new")
    unfinished.write_text(json.dumps(value))
    unfinished.replace(path)


def become_first_process() -> None:
    """Continues as process 1 of new namespaces, detached from the process that started it."""
    if LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    if os.fork():
        os._exit(0)
    os.setsid()


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Makes the system call: the mount program would resolve the handles to paths that are hidden by then."""
    if LIBC.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None):
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}")


def make_private(procfs: str, private: list[str], keep: list[str], binds: dict[str, str]) -> None:
    """Mounts an empty file system on `private` folders, with `keep` and the machine's resolv.conf in it."""
    try:
        resolv = Path("/etc/resolv.conf").read_text()
    except OSError:
        resolv = ""
    hidden = {
        path: path for path in keep if any(os.path.commonpath([path, each]) == each for each in private)
    }
    kept = {**hidden, **binds, "/run/host-proc": procfs}
    handles = {target: os.open(source, os.O_PATH | os.O_DIRECTORY) for target, source in kept.items()}
    for path in private:
        mount("testbed", path, "tmpfs", 0, "mode=755,size=1g")
    for target, handle in handles.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{handle}", target, flags=MS_BIND | MS_REC)
        os.close(handle)
    mount("proc", "/proc", "proc")
    for folder in ("/run/tmp", "/run/lock"):
        Path(folder).mkdir(exist_ok=True)
    resolver = Path("/etc/resolv.conf").resolve()
    if resolv and not resolver.exists():
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.write_text(resolv)


def accepts(condition: str) -> bool:
    """Whether something listens at unix:PATH or tcp:HOST:PORT."""
    kind, _, rest = condition.partition(":")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


class Daemon:
    """One program that runs as long as the machine."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.pid, self.starts, self.due = spec, 0, 0, 0.0
        self.code: int | None = None

    def start_if_due(self, now: float) -> None:
        if self.pid or now < self.due or self.done:
            return
        if self.spec.get("after") and not accepts(self.spec["after"]):
            return
        with Path(self.spec["log"]).open("ab") as log:
            child = subprocess.Popen(
                self.spec["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": "/run/tmp", **self.spec.get("env", {})},
                start_new_session=True,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ()),
            )
        child.returncode = 0  # reaped by reap_all, with all other children of this process
        self.pid, self.starts = child.pid, self.starts + 1

    @property
    def done(self) -> bool:
        """Whether it has ended as it should."""
        return bool(self.spec.get("once")) and self.code == 0

    def ended(self, code: int, now: float) -> None:
        self.pid, self.code = 0, code
        self.due = now + BACKOFF_SECONDS[min(self.starts - 1, len(BACKOFF_SECONDS) - 1)]


def reap_all(daemons: list[Daemon], now: float) -> None:
    """Reaps every child that ended, including orphans of the machine."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for daemon in daemons:
            if daemon.pid == pid:
                daemon.ended(os.waitstatus_to_exitcode(status), now)


def main() -> None:
    """Sets the machine up, then supervises its daemons until it is terminated."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    become_first_process()
    record_self(spec["procfs"], spec["record"])
    if spec.get("lock_fd") is not None:
        os.close(spec["lock_fd"])  # from here on, a process that holds the lock finds the record
    signals = {signal.SIGCHLD, signal.SIGTERM}
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    make_private(spec["procfs"], spec["private"], spec["keep"], spec["binds"])
    daemons = [Daemon(each) for each in spec["daemons"]]
    told = None
    while True:
        now = time.monotonic()
        reap_all(daemons, now)
        for daemon in daemons:
            daemon.start_if_due(now)
        status = {
            d.spec["name"]: {"running": bool(d.pid), "starts": d.starts, "exit": d.code} for d in daemons
        }
        if status != told:
            write(spec["status"], status)
            told = status
        waiting = any(not daemon.pid and not daemon.done for daemon in daemons)
        got = signal.sigtimedwait(signals, TICK_SECONDS if waiting else IDLE_TICK_SECONDS)
        if got is not None and got.si_signo == signal.SIGTERM:
            return


if __name__ == "__main__":
    main()
