"""Measures responses, and those in time, at a constant request rate while the link or Triton fails.

Run: `.venv/bin/python -m benchmarks.runtime.deadlines [--quick] [--only FAULT …]`, as root on Linux. Each of
five faults is injected repeatedly during requests in an open loop: a request's latency counts from its
planned time. The deadline is the SLO. Before and after the faults, a runtime with a local route alone
receives the same requests, to measure the machine's own delays. `late_only_for_the_machine` counts the
requests that would have been in time if caller and runtime had always had a core when runnable, by the
kernel's accounting.
"""

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.runtime.commands import Say, described, reported, say
from benchmarks.runtime.deployments import Deployment, PlannedRoute, deployed
from benchmarks.runtime.switches import beyond, most_within
from benchmarks.runtime.verdicts import Document, excuses, verdict
from edge_planning.routing.routes import DWELL

AIM: Final = 0.999
SLO: Final = 0.150
_FAST, _SLOW = 20e6, 50e3
_RATE: Final = 25.0
_COUNTS: Final = {False: 2000, True: 50}

Steps = Iterator[tuple[str, float]]


def cut(deployment: Deployment, rng: random.Random) -> Steps:
    """Cuts the link at a random time of a request, and restores it."""
    while True:
        deployment.site.plug(plugged=False)
        yield "cut", rng.uniform(0.3, 2.0)
        deployment.site.plug(plugged=True)
        yield "mended", rng.uniform(1.5, 3.0)


def hung(deployment: Deployment, rng: random.Random) -> Steps:
    """Suspends Triton: it accepts connections without responding. Restarts it if it ends when resumed."""
    while True:
        deployment.triton.send(signal.SIGSTOP)
        yield "hung", rng.uniform(1.0, 5.0)
        deployment.triton.send(signal.SIGCONT)
        if deployment.triton.process.poll() is not None:
            deployment.start_triton()
        yield "resumed", rng.uniform(2.0, 4.0)


def killed(deployment: Deployment, rng: random.Random) -> Steps:
    """Kills Triton and starts it again."""
    while True:
        deployment.triton.kill()
        yield "killed", rng.uniform(0.5, 2.0)
        deployment.start_triton()
        yield "started", rng.uniform(3.0, 6.0)


def slow(deployment: Deployment, rng: random.Random) -> Steps:
    """Limits the link to 50 kbit/s, and removes the limit for a while."""
    while True:
        deployment.site.shape(_SLOW)
        yield "slow", rng.uniform(5.0, 10.0)
        deployment.site.shape(_FAST)
        yield "fast", rng.uniform(2.0, 3.0)


def flapping(deployment: Deployment, rng: random.Random) -> Steps:
    """Cuts and restores the link several times per second."""
    while True:
        deployment.site.plug(plugged=False)
        yield "away", rng.uniform(0.1, 0.6)
        deployment.site.plug(plugged=True)
        yield "there", rng.uniform(0.1, 0.6)


FAULTS: Final[Mapping[str, Callable[[Deployment, random.Random], Steps]]] = {
    "cut": cut,
    "hung": hung,
    "killed": killed,
    "50kbit": slow,
    "flapping": flapping,
}


def measure(folder: Path, say: Say, *, quick: bool, only: Sequence[str] = tuple(FAULTS)) -> dict[str, object]:
    """Returns `deadlines`: the results of the requests under each fault, and those of the control."""
    plan = PlannedRoute(slo=SLO, needed=5e6, predicted=0.12)
    count = _COUNTS[quick]
    faults: dict[str, Document] = {}
    with deployed(folder, plan, say) as deployment:
        deployment.site.shape(_FAST)
        deployment.start_runtime()
        deployment.start_control()
        control = _control(deployment, count // 2)
        say(f"control: {control}")
        for name in only:
            faults[name] = _under(deployment, name, count)
            say(f"{name}: {faults[name]}")
        after = _control(deployment, count // 2)
        say(f"control: {after}")
    share = min(row["in_time_share"] for row in faults.values())
    bad = sum(row["failed"] for row in faults.values())
    found = {
        "slo_ms": 1e3 * SLO,
        "rate": _RATE,
        "faults": faults,
        "control": [control, after],
        "least_share": share,
        "aim": AIM,
        "met": share >= AIM and not bad,
    }
    return {"deadlines": found}


def _control(deployment: Deployment, count: int) -> Document:
    stream = deployment.asked(deployment.control_url)
    replies = deployment.hand.do(do="stream", count=count, rate=_RATE, **stream)
    return verdict(replies, SLO) | _judged(deployment, "control", replies, [])


def _under(deployment: Deployment, name: str, count: int) -> Document:
    """Injects one fault until `count` requests have completed, then restores everything."""
    deployment.await_cut_route()
    seconds = count / _RATE
    moments: list[tuple[float, str]] = []
    order = {"do": "switches", "url": f"{deployment.url}/metrics", "seconds": seconds + 1.0}
    deployment.watcher.begin(**order)
    deployment.hand.begin(do="stream", count=count, rate=_RATE, **deployment.asked(deployment.url))
    end = time.monotonic() + seconds
    steps = FAULTS[name](deployment, random.Random(name))
    time.sleep(min(1.0, seconds / 4))
    try:
        for what, pause in steps:
            moments.append((time.monotonic(), what))
            time.sleep(max(min(pause, end - time.monotonic()), 0.0))
            if time.monotonic() >= end:
                break
    finally:
        _mend(deployment)
    replies = deployment.hand.end()
    switches = [(at, total) for at, total in deployment.watcher.end()]
    return {
        **verdict(replies, SLO),
        "faults": (len(moments) + 1) // 2,
        "switches": int(switches[-1][1] - switches[0][1]),
        "most_switches_in_a_dwell": most_within(switches, DWELL),
        "switches_beyond_one_a_dwell": beyond(switches, DWELL),
        **_judged(deployment, "runtime", replies, moments),
    }


def _mend(deployment: Deployment) -> None:
    deployment.site.plug(plugged=True)
    deployment.site.shape(_FAST)
    deployment.triton.send(signal.SIGCONT)
    if deployment.triton.process.poll() is not None:
        deployment.start_triton()


def _judged(
    deployment: Deployment, name: str, replies: Sequence[Document], moments: Sequence[tuple[float, str]]
) -> Document:
    told = deployment.hand.do(do="delays")
    here = [{"kind": kind, "at": at, "seconds": seconds} for kind, at, seconds in told]
    return excuses(replies, SLO, here, deployment.delays(name), moments)


def main() -> int:
    """All faults, or the named ones."""
    parser = described("deadlines", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS), metavar="FAULT")
    given = parser.parse_args()
    return reported("deadlines", lambda folder: measure(folder, say, quick=given.quick, only=given.only))


if __name__ == "__main__":
    sys.exit(main())
