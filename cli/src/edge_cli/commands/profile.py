"""`ei profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_cli.flags import Output, duration
from edge_cli.output import Format, note, show


def profile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.", show_default=False)],
    *,
    threads: Annotated[int, typer.Option("--threads", help="Threads for one inference.", min=1)] = 1,
    seconds: Annotated[
        float, duration("--seconds", help="How long to measure each slice.", default_text="600ms")
    ] = 0.6,
    samples: Annotated[
        Path | None, typer.Option("--samples", metavar="FILE", help="An .npz file of inputs to measure on.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Measures exits and cuts of a model on this machine, as profiling Jobs do on a node of the cluster."""
    from edge_runtime.file_profiles import profile_file
    from edge_runtime.samples.flags import Given

    def progress(done: int, total: int) -> None:
        if done and done == total:
            note(f"measured {total} slices")

    found = profile_file(model, threads, seconds, progress, Given(samples=samples))
    show(found.document(), output, found.table)
