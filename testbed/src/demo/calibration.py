"""Computes how fast the testbed's nodes must be on this machine, so that the SLO requires a choice.

The example's SLO is a fixed latency. On a fast machine every node would finish the full model locally in
time, on a slow one none would. The nodes' speeds therefore follow from the model's compute time on this
machine, and the SLO is adjusted if the operator's profiles still leave no choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import onnxruntime

from demo.samples import LabeledImages
from demo.services import seconds

Document = Mapping[str, Any]

LEAST_SPEED: Final = 0.02  # of a core: below it the kernel lets a pod run once in 50 ms
MOST_SPEED: Final = 1.0
_RUNS: Final = 30


# Time of the full model on a device class, as a share of the SLO. A gateway finishes it in time locally, but
# later than with Triton. A camera does not; its local early exit leaves time to try the cloud first.
SHARES: Final[Mapping[str, float]] = {"gateway": 0.5, "camera": 1.25}
# Measured within these, the example's SLO is kept.
LEAST_SHARE, MOST_SHARE = 1.1, 1.6
LIMITING: Final = "camera"


def full_model_seconds(model: Path, held_out: Path, clock: Callable[[], float] = time.process_time) -> float:
    """Returns the seconds of one core for one image through the full model: the minimum of several runs.

    Measured as the process's CPU time, on which other work on the machine has little effect.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = {session.get_inputs()[0].name: LabeledImages.load(held_out).images[:1]}
    taken = []
    for _ in range(_RUNS):
        start = clock()
        session.run(None, image)
        taken.append(clock() - start)
    return min(taken)


def speeds(full_seconds: float, slo: float) -> dict[str, float]:
    """Returns the speed in cores at which the full model takes its share of the SLO, by device class."""
    return {
        name: round(min(max(full_seconds / (share * slo), LEAST_SPEED), MOST_SPEED), 4)
        for name, share in SHARES.items()
    }


def latency(profile: Document, slo: float) -> float:
    """Returns the SLO (s) to use, given a ModelProfile: `slo`, unless the full model takes too small or too
    large a share of it on the cameras.
    """
    classes = {found["name"]: found for found in profile["spec"]["deviceClasses"]}
    full = seconds(classes[LIMITING]["exits"][-1]["mean"])
    if LEAST_SHARE <= full / slo <= MOST_SHARE:
        return slo
    return round(full / SHARES[LIMITING], 3)
