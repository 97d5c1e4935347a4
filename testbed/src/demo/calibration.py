"""How fast the testbed's nodes are to be on this machine, so that the service's SLO asks for a choice.

The example's SLO is a time, and machines differ: on a quick one every node would finish the full model alone
in time, on a slow one none would. So the nodes' speeds follow from what the model takes here, and the SLO
gives way where the operator's profiles then say something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import onnxruntime

from demo.samples import Samples
from demo.services import seconds

Document = Mapping[str, Any]

LEAST_SPEED: Final = 0.02  # of a core: below it the kernel lets a pod run once in 50 ms
MOST_SPEED: Final = 1.0
_RUNS: Final = 30


# What the full model takes on a device class, as a share of the SLO. A gateway finishes it in time by itself,
# but later than together with Triton. A camera does not; an early exit of its own leaves it time to try the
# cloud first.
SHARES: Final[Mapping[str, float]] = {"gateway": 0.5, "camera": 1.25}
# Measured within these, the example's SLO is kept.
LEAST_SHARE, MOST_SHARE = 1.1, 1.6
LIMITING: Final = "camera"


def full_model_seconds(model: Path, held_out: Path, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of one core for one image through all of the model: the least of several runs.

    By the process's own time, which other work on the machine hardly changes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = {session.get_inputs()[0].name: Samples.load(held_out).images[:1]}
    taken = []
    for _ in range(_RUNS):
        start = clock()
        session.run(None, image)
        taken.append(clock() - start)
    return min(taken)


def speeds(full_seconds: float, slo: float) -> dict[str, float]:
    """The speed (in cores) of each device class on which the full model takes its share of the SLO."""
    return {
        name: round(min(max(full_seconds / (share * slo), LEAST_SPEED), MOST_SPEED), 4)
        for name, share in SHARES.items()
    }


def latency(profile: Document, slo: float) -> float:
    """The SLO (seconds) to ask for, given what was measured (a ModelProfile): `slo` unless the cameras'
    full model takes too little or too much of it.
    """
    classes = {found["name"]: found for found in profile["spec"]["deviceClasses"]}
    full = seconds(classes[LIMITING]["exits"][-1]["mean"])
    if LEAST_SHARE <= full / slo <= MOST_SHARE:
        return slo
    return round(full / SHARES[LIMITING], 3)
