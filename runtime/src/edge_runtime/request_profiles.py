"""The process that measures a model on the inputs of requests: a program, which `Measurer` starts.

The inputs arrive by a pipe and stay in this process's memory. The runs during which the process stood still,
because requests were computed, do not count.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 0.6
"""Seconds to measure each slice, as in a profiling Job."""


class Pauses:
    """Counts how often this process was resumed after it had been stopped."""

    def __init__(self) -> None:
        self.count = 0
        signal.signal(signal.SIGCONT, self._resumed)

    def _resumed(self, *_: object) -> None:
        self.count += 1

    def __call__(self) -> int:
        return self.count


def main() -> None:
    """Serves requests from standard input."""
    # As in edge_runtime.cli; before numpy and onnxruntime are imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from edge_runtime.trials.child_server import serve

    serve(_measured, int(sys.argv[1]))


def _measured(request: Mapping[str, Any], payload: bytes, stage: Any) -> dict[str, Any]:  # noqa: ANN401
    import asyncio

    from edge_runtime.errors import EdgeError, InputsRefused

    stage("measuring it")
    try:
        return {"profile": asyncio.run(_profile(request, payload))}
    except InputsRefused as error:
        return {"refused": str(error)}
    except EdgeError as error:
        return {"failed": str(error)}


async def _profile(request: Mapping[str, Any], samples: bytes) -> dict[str, Any]:
    from edge_runtime.model_store import ModelStore
    from edge_runtime.profiling import profile_device
    from edge_runtime.samples.flags import Given
    from edge_runtime.tls.certificates import Certificates

    access = request["store"]
    token, tls = access["token"], access["tls"]
    context = None if tls is None else Certificates(Path(tls), "require").client
    store = ModelStore(access["url"], None, context, None if token is None else Path(token))
    try:
        return await profile_device(
            store,
            request["model"],
            "",
            "",
            selection="",
            seconds=SECONDS,
            progress=lambda _: None,
            threads=request["threads"],
            given=Given({name: tuple(shape) for name, shape in request["shapes"].items()}),
            samples=samples,
            isolated=True,
            pauses=Pauses(),
        )
    finally:
        store.close()


if __name__ == "__main__":
    main()
