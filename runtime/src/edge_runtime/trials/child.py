"""The trial process: loads a slice as the runtime would, runs it, and reports the result if it survives."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MODULE: Final = "edge_runtime.trials.child"


def main() -> None:
    """Serves requests from standard input."""
    # As in edge_runtime.cli; before numpy and onnxruntime are imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from edge_runtime.inference.sessions import engine_version
    from edge_runtime.trials.child_server import serve

    engine_version()  # loads onnxruntime's library, so that its time does not count for the first slice
    serve(_tried, int(sys.argv[1]))


def _tried(request: Mapping[str, Any], payload: bytes, stage: Any) -> dict[str, Any]:  # noqa: ANN401
    from edge_runtime.errors import EdgeError
    from edge_runtime.inference.mapped_weights import LARGE
    from edge_runtime.inference.native import return_unused_memory
    from edge_runtime.tensors import Tensor

    path, digest = request.get("path"), request.get("digest")
    source: bytes | Path = Path(path) if path is not None else payload
    if digest and isinstance(source, Path):
        # Here, so that the tried bytes have the digest even if the file changes.
        try:
            with source.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if source.stat().st_size < LARGE:
                source = source.read_bytes()
        except OSError:
            return {"damaged": True}
        if f"sha256:{found}" != digest:
            return {"damaged": True}
    tensors = [
        None if request[name] is None else tuple(Tensor.of(t) for t in request[name])
        for name in ("inputs", "outputs")
    ]
    try:
        return {"findings": _examined(source, tensors[0], tensors[1], request, stage)}
    except EdgeError as error:
        return {"refused": str(error)}
    except Exception as error:  # unexpected errors of a model
        return {"refused": f"cannot be loaded: {error!r}"}
    finally:
        return_unused_memory()  # the next slice has as much memory as this one


def _examined(source: Any, inputs: Any, outputs: Any, request: Mapping[str, Any], stage: Any) -> Any:  # noqa: ANN401
    from edge_runtime.errors import BadRequest, BadTensor, CannotLoad, ModelFailed
    from edge_runtime.inference.memory import peak, reset_peak
    from edge_runtime.inference.sessions import Session
    from edge_runtime.samples.flags import NOTHING, Given
    from edge_runtime.samples.making import make
    from edge_runtime.trials.findings import EXAMINERS, Examined
    from edge_runtime.trials.verdicts import out_of_memory

    measured = bool(request.get("measured"))
    before = reset_peak() if measured else 0
    stage("loading it")
    session = Session(
        source,
        inputs,
        outputs,
        request["threads"],
        mapped=bool(request.get("digest")),
        packed=request.get("packed", True),
    )
    given = Given.of(request["given"])
    try:
        samples = make(session.inputs, session.dimensions, given)
    except BadRequest:  # the parent reports it, with its flags
        samples = make(session.inputs, session.dimensions, NOTHING)
    stage("running it")
    try:
        for feeds in samples.feeds:
            # The parent limits the total time.
            session.warm(feeds, limit=threading.TIMEOUT_MAX, once=True)
    except (BadTensor, ModelFailed) as error:
        # Zeros need not be a valid input; running out of memory counts for any input.
        if out_of_memory(str(error)):
            raise
    except CannotLoad:
        if request["mustFit"]:
            raise
    if measured:
        return {"peak": peak() - before}
    stage("examining it")
    examined = Examined(session, source)
    return {name: found for name, examine in EXAMINERS.items() if (found := examine(examined)) is not None}


if __name__ == "__main__":
    main()
