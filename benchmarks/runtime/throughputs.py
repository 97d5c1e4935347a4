"""Measures each server's throughput over HTTP, and its latency at 70 % of it."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
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
_BLOCKS: Final = 10


def measure(names: Sequence[str], folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `throughput_rps` with 16 callers without pauses, and `p99_at_70_ms` at 70 % of it.

    The servers run in parallel and are saturated in alternating blocks, so that other load on the machine
    affects all of them; the first is the median of the blocks. `throughput_over_bare` has it as ratios.

    The second is an open loop: requests arrive at random times, independent of earlier responses, and the
    latency of each counts from its planned time.
    """
    model = write_models(folder / "models")[_SIZE]
    seconds = 1.0 if quick else 5.0
    late: dict[str, float] = {}
    with ExitStack() as stack:
        servers = {n: stack.enter_context(started(n, _SIZE, model, folder, say)) for n in names}
        requests = {n: http_request("m", SIZES[_SIZE], binary=n not in JSON_ONLY) for n in names}
        for name, server in servers.items():
            closed_loop(server.http, requests[name], _CLIENTS, 0.5)
        blocks: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(_BLOCKS):
            for name, server in servers.items():
                blocks[name].append(closed_loop(server.http, requests[name], _CLIENTS, seconds / _BLOCKS))
        rates = {name: round(median(found), 1) for name, found in blocks.items()}
        for name, server in servers.items():
            rate, rng = rates[name], np.random.default_rng(3)
            arrivals = np.cumsum(rng.exponential(1 / (_SHARE * rate), size=int(_SHARE * rate * seconds)))
            times = sorted(open_loop(server.http, requests[name], arrivals.tolist(), _CONNECTIONS))
            late[name] = round(1e3 * quantile(times, 0.99), 3)
            say(f"{name}: {rate} requests/s, p99 {late[name]} ms at 70 % of that")
    ratios = {name: round(rate / rates["bare"], 3) for name, rate in rates.items()} if "bare" in rates else {}
    return {"throughput_rps": rates, "throughput_over_bare": ratios, "p99_at_70_ms": late}
