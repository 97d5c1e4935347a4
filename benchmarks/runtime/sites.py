"""Two nodes with a shaped link: the testbed's network without its cluster.

Its namespaces have names only inside a mount namespace of their own, so they do not conflict with a running
testbed. All of its processes end with the block, and within a second after its creator ends for any reason.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from benchmarks.runtime.commands import Say
from benchmarks.runtime.peers import ONE_THREAD, family
from testbed.errors import CommandFailedError, MachineUnfitError
from testbed.network import WAN, Network, access, shaping
from testbed.prerequisites import PACKAGES, install, present
from testbed.processes import HOST_PROC, DaemonSpec, Machine, ProcessRecord, entering, run
from testbed.topology import NodeSpec, Topology

EDGE: Final = "edge"
PROGRAMS: Final = ("ip", "tc", "ethtool", "nsenter", "setpriv", "sysctl")
_ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_END: Final = 10.0


class Process:
    """A program in one of a site's networks."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self.log = process, log

    def pids(self) -> list[int]:
        """The program's processes, without the nsenter process."""
        return family(self.process.pid)[1:]

    def send(self, number: int) -> None:
        """Sends a signal to all of them."""
        # nsenter forwards only stop signals to its child.
        pids = family(self.process.pid) if number == signal.SIGCONT else self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """Terminates it, and kills it if it does not end."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kills it."""
        self.send(signal.SIGKILL)
        self.send(signal.SIGCONT)
        self.process.wait(_END)


class Site:
    """An edge node and a cloud node; the link is shaped in both directions."""

    def __init__(self, machine: ProcessRecord, topology: Topology, folder: Path) -> None:
        self._machine, self._topology, self._network = machine, topology, Network(machine)
        self.folder = folder

    def address(self, node: str) -> str:
        """Returns the node's address on the link."""
        return self._topology.address(node)

    def shape(self, rate: float | None) -> None:
        """Sets the link's rate in bit/s; None removes the limit."""
        self._network.set_rate(EDGE, rate)

    def plug(self, *, plugged: bool) -> None:
        """Restores or cuts the link."""
        self._network.set_up(EDGE, up=plugged)

    def sent(self) -> int:
        """Returns the bytes that the edge node has sent so far, with all headers."""
        shown = run([*entering(self._machine, EDGE), "ip", "-j", "-s", "link", "show", "eth0"])
        return int(json.loads(shown)[0]["stats64"]["tx"]["bytes"])

    def start(
        self,
        name: str,
        node: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        talking: bool = False,
    ) -> Process:
        """Starts a program at a node; `talking`: its standard input and output are pipes."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*_ENDS_WITH_US, *entering(self._machine, node), *_ENDS_WITH_US, *argv],
                env={**os.environ, **ONE_THREAD, **(env or {})},
                stdin=subprocess.PIPE if talking else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talking else file,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        return Process(process, log)


def burst_bytes(rate: float) -> int:
    """Returns the bytes that the shaper passes immediately after a pause, at a rate in bit/s."""
    words = shaping(rate)
    return int(words[words.index("burst") + 1])


def check(say: Say) -> None:
    """Raises MachineUnfitError with the fix if this machine cannot have a site."""
    missing = sorted({PACKAGES[program] for program in PROGRAMS if not present(program)})
    if sentence := refusal(sys.platform, os.geteuid(), missing, may_install=present("apt-get")):
        raise MachineUnfitError(sentence)
    if missing:
        install(missing, say)


def refusal(platform: str, user: int, missing: Sequence[str], *, may_install: bool) -> str | None:
    """Returns why a machine cannot have a site, with the fix; None if it can."""
    if not platform.startswith("linux"):
        return f"shaped links need Linux (this is {platform}): run it there"
    if user != 0:
        return "shaped links need root to create networks: run it as root, e.g. with sudo"
    if missing and not may_install:
        return f"shaped links need {', '.join(missing)}: install them"
    return None


@contextmanager
def site(folder: Path, say: Say) -> Iterator[Site]:
    """A site whose logs are in `folder`; removed after the block."""
    check(say)
    topology = Topology.with_cloud([NodeSpec(EDGE, "gateway")])
    machine = Machine("site", folder, folder, ())
    with interrupted_when_terminated():
        try:
            yield Site(_begun(machine, topology), topology, folder)
        finally:
            machine.kill()


def _begun(machine: Machine, topology: Topology) -> ProcessRecord:
    # A killed process cannot clean up, so the site itself checks whether its creator still runs.
    alone = f"while [ -d {HOST_PROC}/{os.getpid()} ]; do sleep 0.5; done; kill -TERM 1"
    record = machine.start([DaemonSpec("watch", ["sh", "-c", alone])])
    try:
        Network(record).build(topology)
        run([*entering(record, WAN), "tc", "qdisc", "replace", "dev", access(EDGE), "root", *shaping(1e6)])
        Network(record).set_rate(EDGE, None)
    except CommandFailedError as error:
        raise MachineUnfitError(
            f"this machine cannot shape links ({error.output.strip()[-300:]}): "
            "run it where root can create network namespaces and the kernel has sch_tbf"
        ) from error
    return record


@contextmanager
def interrupted_when_terminated() -> Iterator[None]:
    """Handles SIGTERM like Ctrl-C, so that everything is removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"signal {number}")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
