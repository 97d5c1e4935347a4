"""Three tenants with weights of 1, 2 and 4 that each have more requests than the whole node can take.

The resource that binds is the node's processor time. The kernel divides it between the tenants' pods by what
they request, which the operator sets by the tenants' entitlements. The node is one processor of this machine,
without a limit of its speed: under a quota as small as that of other sections, the kernel does not divide by
weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.pool.site import Site
from benchmarks.sharing import lending
from benchmarks.sharing.backlog_processes import BacklogProcess
from benchmarks.sharing.shares import division, is_lent, is_returned, parts, rounded, used
from benchmarks.sharing.tenancy import NODE, Tenancy, tenants
from testbed.errors import NotReadyInTimeError

WEIGHTS: Final = {"light": 1.0, "medium": 2.0, "heavy": 4.0}
OUTPUT: Final = "logits"
"""The full model's, as the only exit: the services are equal only while all compute the same."""
OPEN: Final = 4
"""Requests of each tenant that are open at a time; each of these backlogs alone keeps the node busy."""
_SETTLE: Final = 10.0
_WINDOW: Final = 1.0
_ALONE: Final = 5.0
_PATIENCE: Final = 60.0


def measure(prepared: tuple[Site, Path], *, quick: bool) -> dict[str, object]:
    """Returns the tenants' shares, and the seconds until idle capacity is lent and returned.

    The seconds are the worst of two: at the node, from the end and the start of requests to the use of the
    processor; by the plan, from the change of a declared rate to the exit of a response.
    """
    site, model = prepared
    with tenants(site, model, WEIGHTS, output=OUTPUT, speed=None) as shared:
        divided, at_node = _divided(shared, quick=quick)
    by_plan = lending.rounds(site, model, quick=quick)
    both = lending.worst([at_node, by_plan]).rounded
    return {
        **divided,
        "lend_s": both["lend"],
        "reclaim_s": both["reclaim"],
        "at_node_s": at_node.rounded,
        "by_plan_s": by_plan.rounded,
    }


def _divided(shared: Tenancy, *, quick: bool) -> tuple[dict[str, object], lending.Delays]:
    """Returns how the processor is divided while all send, and how long it takes to lend and return it."""
    with shared.backlogs(OPEN) as clients:
        for client in clients.values():
            client.start()
        shared.pass_time("until all tenants send", _SETTLE)
        before, began = shared.cpu_seconds(), time.monotonic()
        shared.pass_time("all tenants send", 10.0 if quick else 60.0)
        spent, ended = used(before, shared.cpu_seconds()), time.monotonic()
        processors = sum(spent.values()) / (ended - began)
        entitled, requests = parts(shared.entitlements()), shared.cpu_requests()
        shared.site.say(f"shares of the processor: {_shown(parts(spent))}; together {processors:.3f}")
        delays, alone = list[lending.Delays](), dict[str, float]()
        for name in list(WEIGHTS)[-1:] if quick else WEIGHTS:
            one, alone[name] = _alone(shared, clients, name, processors)
            delays.append(one)
        received = {name: client.received() for name, client in clients.items()}
    responses = {name: sum(began <= at < ended for at in one.responses) for name, one in received.items()}
    found = division(WEIGHTS, spent, responses) | {
        "resource": f"processor time of {NODE}",
        "processors_used": round(processors, 4),
        "alone": rounded(alone),
        "failed": [one.failed for one in received.values()],
        "errors": sorted({one.error for one in received.values() if one.error}),
        "cpu_requests": list(requests.values()),
        "entitled_shares": rounded(entitled),
    }
    return found, lending.worst(delays)


def _alone(
    shared: Tenancy, clients: Mapping[str, BacklogProcess], name: str, processors: float
) -> tuple[lending.Delays, float]:
    """Returns how long one tenant takes to use the parts of the others when these pause, and the others to
    have theirs back; and how much of `processors` the tenant uses alone.
    """
    others = [client for other, client in clients.items() if other != name]
    paused = time.monotonic()
    for client in others:
        client.stop()
    lent = _until(shared, partial(is_lent, user=name, whole=processors * _WINDOW)) - paused
    before, began = shared.cpu_seconds(), time.monotonic()
    time.sleep(_ALONE)
    alone = used(before, shared.cpu_seconds())[name] / (time.monotonic() - began) / processors
    back = time.monotonic()
    for client in others:
        client.start()
    returned = _until(shared, partial(is_returned, weights=WEIGHTS, borrower=name)) - back
    shared.site.say(
        f"{name} alone: {alone:.0%} of the processor, lent in {lent:.1f} s, returned in {returned:.1f} s"
    )
    return lending.Delays(lent, returned), alone


def _until(shared: Tenancy, done: Callable[[Mapping[str, float]], bool]) -> float:
    """Returns when what the tenants used within a window was as wanted. Raises NotReadyInTimeError."""
    end = time.monotonic() + _PATIENCE
    before = shared.cpu_seconds()
    while time.monotonic() < end:
        time.sleep(_WINDOW)
        after = shared.cpu_seconds()
        spent = used(before, after)
        if done(spent):
            return time.monotonic()
        before = after
    raise NotReadyInTimeError(f"not within {_PATIENCE:g} s: shares of the processor: {_shown(parts(spent))}")


def _shown(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
