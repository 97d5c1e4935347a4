"""Measures each server's throughput over HTTP, and its latency at 70 % of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.runtime.clients import closed_loop, http_request, open_loop
from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import SIZES, write_models
from benchmarks.runtime.peers import JSON_ONLY, started
from benchmarks.runtime.quantiles import quantile

_SIZE: Final = "48KB"
_CLIENTS: Final = 16
_SHARE: Final = 0.7
_CONNECTIONS: Final = 64


def measure(names: Sequence[str], folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `throughput_rps` with 16 callers without pauses, and `p99_at_70_ms` at 70 % of it.

    The second is an open loop: requests arrive at random times, independent of earlier responses, and the
    latency of each counts from its planned time.
    """
    model = write_models(folder / "models")[_SIZE]
    seconds = 1.0 if quick else 5.0
    rates: dict[str, float] = {}
    late: dict[str, float] = {}
    for name in names:
        request = http_request("m", SIZES[_SIZE], binary=name not in JSON_ONLY)
        with started(name, _SIZE, model, folder, say) as server:
            closed_loop(server.http, request, _CLIENTS, 0.5)
            rate = closed_loop(server.http, request, _CLIENTS, seconds)
            rng = np.random.default_rng(3)
            arrivals = np.cumsum(rng.exponential(1 / (_SHARE * rate), size=int(_SHARE * rate * seconds)))
            times = sorted(open_loop(server.http, request, arrivals.tolist(), _CONNECTIONS))
        rates[name], late[name] = round(rate, 1), round(1e3 * quantile(times, 0.99), 3)
        say(f"{name}: {rates[name]} requests/s, p99 {late[name]} ms at 70 % of that")
    return {"throughput_rps": rates, "p99_at_70_ms": late}
