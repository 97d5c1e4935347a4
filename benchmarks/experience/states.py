"""States of the example without which some panels of the dashboards have nothing to show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from demo import installation
from demo.clusters import DemoCluster
from demo.installation import wait_for

SELDOM = 0.1
"""Requests a second at which every request is the first after an idle time."""
_AFTER = "3s"
_SECOND = "digits/second.onnx"
_ROLLOUT = {"shadow": {"share": 100, "duration": "1h"}, "steps": [{"weight": 50, "duration": "1h"}]}
_PATIENCE = 600.0
"""Seconds until a new model is measured on all device classes, on a busy machine."""


@contextmanager
def idle(cluster: DemoCluster) -> Iterator[None]:
    """Has entry nodes let go of the example after a short time without requests."""
    _patch(cluster, {"scaling": {"idleAfter": _AFTER}})
    try:
        yield
    finally:
        _patch(cluster, {"scaling": None})


@contextmanager
def rolling(cluster: DemoCluster, model: Path, folder: Path) -> Iterator[None]:
    """A roll-out of another revision of the example, which computes every request, too; then aborted.

    model: the file of the example. folder: for that of the revision.
    """
    second = folder / "second.onnx"
    revision = onnx.load(model)
    revision.metadata_props.add(key="revision", value="2")
    onnx.save(revision, second)
    installation.upload(cluster, second, _SECOND)
    before = installation.service(cluster)["spec"]["model"]["storageUri"]
    _patch(cluster, {"model": {"storageUri": f"store://{_SECOND}"}, "rollout": _ROLLOUT})
    try:
        wait_for("the roll-out", lambda: _phase(cluster) == "Shadowing", _PATIENCE, lambda: _told(cluster))
        yield
    finally:
        _patch(cluster, {"model": {"storageUri": before}})
        wait_for("the example", lambda: _phase(cluster) == "Stable", _PATIENCE, lambda: _told(cluster))
        _patch(cluster, {"rollout": None})


def _patch(cluster: DemoCluster, spec: dict[str, Any]) -> None:
    named = ("inferenceservice", installation.SERVICE, "-n", "default")
    cluster.kubectl("patch", *named, "--type", "merge", "-p", json.dumps({"spec": spec}))


def _phase(cluster: DemoCluster) -> str | None:
    model: dict[str, Any] = installation.service(cluster).get("status", {}).get("model", {})
    return model.get("phase")


def _told(cluster: DemoCluster) -> str:
    """What a failure shows: the conditions and the state of the roll-out."""
    status = installation.service(cluster).get("status", {})
    return json.dumps({key: status.get(key) for key in ("conditions", "model", "rollout")})
