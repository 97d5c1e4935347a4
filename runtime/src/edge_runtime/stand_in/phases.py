"""When a process on the host serves in place of a runtime's pod, and when it hands over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal["Waiting", "StandingIn", "HandingOver", "Draining", "Done"]
Process = Literal["None", "Starting", "Ready"]


@dataclass(frozen=True, slots=True)
class Phase:
    """Where a runtime is. since: when it began, in seconds of a monotonic clock.

    Waiting: for its pod, after the start of the host.
    StandingIn: the process on the host serves what clients send to the node's ports.
    HandingOver: new connections go to the pod; those to the process stay.
    Draining: new connections go where the cluster's own rules lead, and the process ends.
    """

    name: Name
    since: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of a runtime.

    kept: whether the kubelet still keeps a folder of one of its pods. pod: address of its pod that is ready;
    empty: none. led: whether the cluster's own rules lead the node's ports to that pod. process: of the host.
    """

    kept: bool
    pod: str
    led: bool
    process: Process


def follow(phase: Phase, seen: Seen, now: float, patience: float) -> Phase:
    """Returns the phase after a look. patience: seconds that the pod has after the start of the host.

    A runtime whose pods are gone is served no longer: the control plane has removed them.
    """
    following = _following(phase, seen, now, patience)
    return phase if following == phase.name else Phase(following, now)


def _following(phase: Phase, seen: Seen, now: float, patience: float) -> Name:
    match phase.name:
        case "Waiting":
            if seen.pod or not seen.kept:
                return "Done"
            return "StandingIn" if now - phase.since >= patience else "Waiting"
        case "StandingIn":
            if not seen.kept or (seen.pod and seen.process != "Ready"):
                return "Draining"  # in the second case, it has served nothing yet
            return "HandingOver" if seen.pod else "StandingIn"
        case "HandingOver":
            if not seen.pod:
                return "StandingIn" if seen.kept else "Draining"
            return "Draining" if seen.led else "HandingOver"
        case "Draining":
            return "Done" if seen.process == "None" else "Draining"
        case "Done":
            return "Done"
