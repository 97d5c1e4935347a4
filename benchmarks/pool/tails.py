"""Peak memory of the operator while a tail of 100 MB is loaded into Triton."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.pool.processes import peak_bytes, processes_of, reset_peak, resident_bytes
from benchmarks.pool.services import HOSTNAME, edge_pool, service
from benchmarks.pool.site import Site
from benchmarks.runtime.dense_placements import network

_NODE: Final = "edge-b"
_LAYERS: Final = {True: (512, 5), False: (1536, 12)}
"""Width and number of layers: 3 and 97 MB."""


def measure(site: Site, *, quick: bool) -> float | None:
    """Returns the increase in MB; None if the operator was ended, as the kernel does at its memory limit.

    The service has mode CloudOnly: its tail is the whole model.
    """
    site.clear()
    data = network(7, *_LAYERS[quick])
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        Path(file.name).write_bytes(data)
        site.say(f"upload of a model of {len(data) / 1e6:.0f} MB ...")
        site.upload(Path(file.name), "bench/tail.onnx")
    pod = site.operator_pod()
    assert pod is not None
    process = max(processes_of([pod["metadata"]["uid"]]), key=resident_bytes)
    before = resident_bytes(process)
    reset_peak(process)
    entries = {HOSTNAME: _NODE}
    tail = service(
        "tail", pool="bench", file="bench/tail.onnx", mode="CloudOnly", entries=entries, output="y"
    )
    site.apply([edge_pool(), tail])
    # Without enough memory the operator restarts again and again, so the service is never Ready.
    site.wait(
        "the tail loaded",
        lambda: not peak_bytes(process) or bool(site.items("placements")),
        600,
        lambda: f"the operator has {resident_bytes(process) / 1e6:.0f} MB; {site.unmet('tail')}",
    )
    peak = peak_bytes(process)
    site.clear()
    if not peak:
        site.say("the operator was ended while it loaded the tail")
        return None
    return round((peak - before) / 1e6, 1)
