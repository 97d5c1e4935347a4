"""An operator of kopf that does nothing: `python -m benchmarks.operator.kopf_handler FILE`.

It watches the InferenceServices of all namespaces, and writes into the file how often its handler was called,
and the times of the first and of the last call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import kopf

from benchmarks.operator.fleet import GROUP

_CALLS: list[float] = []
_TASKS: list[asyncio.Task[None]] = []


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_: object) -> None:
    """Configures kopf as the operator does."""
    settings.posting.enabled = False
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    _TASKS.append(asyncio.create_task(_write()))


@kopf.on.event(GROUP, "v1alpha1", "inferenceservices")
async def handle(**_: object) -> None:
    """Does nothing."""
    _CALLS.append(time.monotonic())


async def _write() -> None:
    while True:
        await asyncio.sleep(0.5)
        if _CALLS:
            found = {"first": _CALLS[0], "last": _CALLS[-1], "calls": len(_CALLS)}
            await asyncio.to_thread(Path(sys.argv[1]).write_text, json.dumps(found))


if __name__ == "__main__":
    kopf.run(clusterwide=True, standalone=True)
