"""Roll-outs of revisions that are bad, each in another way; the former one keeps serving."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.faults import models
from benchmarks.faults.ground import Ground
from benchmarks.faults.runs import During, Fault, Site
from demo import installation
from demo.samples import LabeledImages
from edge_api import reasons

_STEPS: Final = [{"weight": 50, "duration": "1h"}]
_MEASURED: Final = 600.0
"""Seconds until a new model is measured on all device classes, on a busy machine."""
_LABELED: Final = "faults/labeled.npz"
_SAMPLES: Final = 100


def _returned(name: str, reason: str, change: models.Change | None) -> Fault:
    """A revision that is returned from for this reason. change: None for a file that is not a model."""
    stored = f"faults/{name}.onnx"

    @contextmanager
    def plant(during: During) -> Iterator[None]:
        ground = during.ground
        former = ground.get("inferenceservice", ground.service, "-n", ground.namespace)["spec"]["model"]
        ground.change(model={"storageUri": f"store://{stored}"}, rollout={"steps": _STEPS})
        try:
            during.wait("the return", lambda: _rollout(ground).get("phase") == "Returned", _MEASURED)
            found = ground.condition(ground.service, "RolledOut")
            if found.get("reason") != reason:
                during.broke(f"RolledOut is {found.get('reason')}, not {reason}: {found.get('message')}")
            during.flow()
            yield
        finally:
            ground.change(model={"storageUri": former["storageUri"]}, rollout=None)

    plant.__doc__ = f"A revision is {_WORDS[name]} and returned from: {reason}."

    def site(ground: Ground) -> AbstractContextManager[Site]:
        return _stored(ground, name, stored, change)

    return Fault(plant, site)


def _rollout(ground: Ground) -> dict[str, Any]:
    status = ground.get("inferenceservice", ground.service, "-n", ground.namespace).get("status", {})
    found: dict[str, Any] = status.get("rollout", {})
    return found


def _is_stable(ground: Ground) -> bool:
    status = ground.get("inferenceservice", ground.service, "-n", ground.namespace).get("status", {})
    names = ground.kubectl("get", "inferenceservices", "-n", ground.namespace, "-o", "name").split()
    return status.get("model", {}).get("phase") == "Stable" and len(names) == 1


@contextmanager
def _stored(ground: Ground, name: str, stored: str, change: models.Change | None) -> Iterator[Site]:
    """The revision in the store, nodes that measure it soon, and labeled data if it is to be inaccurate."""
    if change is None:
        file = Path(tempfile.mkdtemp(prefix="faults-")) / f"{name}.onnx"
        file.write_text("some text")
    else:
        file = models.variant(ground, name, change)
    installation.upload(ground.cluster, file, stored)
    labeled = name == "inaccurate"
    with ground.unlimited():
        try:
            if labeled:
                installation.upload(ground.cluster, _labeled(ground), _LABELED)
                ground.change(model={"validation": {"storageUri": f"store://{_LABELED}"}})
                ground.wait("the accuracies", lambda: not ground.unsettled(ground.conditions()))
            yield Site(ground, settled={"one stable revision": partial(_is_stable, ground)})
        finally:
            if labeled:
                ground.change(model={"validation": None})


def _labeled(ground: Ground) -> Path:
    """Writes some of the example's images with their labels."""
    images = LabeledImages.load(ground.held_out)
    path = Path(tempfile.mkdtemp(prefix="faults-")) / "labeled.npz"
    np.savez(path, inputs=images.images[:_SAMPLES], labels=images.labels[:_SAMPLES])
    return path


_WORDS: Final = {
    "text": "not a model",
    "crashing": "a model that crashes onnxruntime",
    "different": "a model with another input",
    "failing": "a model that fails on the images of clients",
    "slow": "a model that misses the SLO",
    "inaccurate": "a model with exchanged classes",
}
FAULTS: Final[dict[str, Fault]] = {
    "revision not a model": _returned("text", reasons.CANDIDATE_NOT_LOADED, None),
    "revision crashing": _returned("crashing", reasons.CANDIDATE_NOT_LOADED, models.crashing),
    "revision with another input": _returned("different", reasons.CANDIDATE_DIFFERS, models.different),
    "revision failing": _returned("failing", reasons.CANDIDATE_FAILS, models.failing),
    "revision too slow": _returned("slow", reasons.CANDIDATE_MISSES_SLO, models.slow),
    "revision inaccurate": _returned("inaccurate", reasons.CANDIDATE_INACCURATE, models.inaccurate),
}
