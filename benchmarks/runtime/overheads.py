"""Measures each server's overhead over the session's time, for one caller in a closed loop."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import nan
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from benchmarks.runtime.clients import HttpConnection, grpc_call, grpc_request, http_request, latencies
from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import SIZES, write_models
from benchmarks.runtime.peers import JSON_ONLY, PeerServer, started
from benchmarks.runtime.quantiles import quantile

_ROUNDS: Final = 10
_WARM: Final = 100


def measure(names: Sequence[str], folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """`overhead_ms`, `session_ms`, `memory_mb` of the named servers, and `latency_over_bare` (ratios of p50).

    The servers of a size run in parallel and receive alternating blocks of requests, so that other load on
    the machine affects all of them.
    """
    models = write_models(folder / "models")
    overhead: dict[str, dict[str, dict[str, object]]] = {"http": {}, "grpc": {}}
    memory: dict[str, float] = {}
    sessions: dict[str, float] = {}
    ratios: dict[str, dict[str, dict[str, float]]] = {"http": {}, "grpc": {}}
    for size, model in models.items():
        with ExitStack() as stack:
            servers = {n: stack.enter_context(started(n, size, model, folder, say)) for n in names}
            sessions[size] = alone = _session_ms(model, SIZES[size])
            for kind, found in _ask(servers, size, quick=quick).items():
                overhead[kind][size] = {name: _less(row, alone) for name, row in found.items()}
                bare = found["bare"]["p50"] if "bare" in found else nan
                ratios[kind][size] = {name: round(row["p50"] / bare, 3) for name, row in found.items()}
                for name, row in found.items():
                    say(f"{kind} {size} {name}: p50 {row['p50'] - alone:.3f} ms over {alone:.3f} ms")
            if size == "48KB":
                memory = {name: round(server.memory_mb(), 1) for name, server in servers.items()}
    return {
        "overhead_ms": overhead,
        **({"latency_over_bare": ratios} if "bare" in names else {}),
        "session_ms": sessions,
        "memory_mb": memory,
        "json_only_over_http": sorted(JSON_ONLY & servers.keys()),
    }


def _ask(
    servers: Mapping[str, PeerServer], size: str, *, quick: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds by transport and server: p50 and p99 of the latency, and the server's CPU time."""
    count = 20 if quick else 200
    asks: dict[tuple[str, str], Callable[[int], list[float]]] = {}
    grpc = grpc_request("m", SIZES[size])
    for name, server in servers.items():
        asks["http", name] = _http_block(
            server.http, http_request("m", SIZES[size], binary=name not in JSON_ONLY)
        )
        asks["grpc", name] = _grpc_block(server.grpc, grpc)
    for ask in asks.values():
        ask(_WARM)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in asks}
    used = dict.fromkeys(asks, 0.0)
    for _ in range(_ROUNDS):
        for key, ask in asks.items():
            before = servers[key[1]].cpu_seconds()
            times[key] += ask(count)
            used[key] += servers[key[1]].cpu_seconds() - before
    found: dict[str, dict[str, dict[str, float]]] = {"http": {}, "grpc": {}}
    for (kind, name), seconds in times.items():
        ordered = sorted(seconds)
        found[kind][name] = {
            "p50": 1e3 * quantile(ordered, 0.5),
            "p99": 1e3 * quantile(ordered, 0.99),
            "cpu": 1e3 * used[kind, name] / len(ordered),
        }
    return found


def _http_block(port: int, request: bytes) -> Callable[[int], list[float]]:
    """Uses a new connection each time, since some servers close idle ones."""

    def block(count: int) -> list[float]:
        connection = HttpConnection(port)
        connection.ask(request)
        found = latencies(lambda: connection.ask(request), count)
        connection.socket.close()
        return found

    return block


def _grpc_block(port: int, request: bytes) -> Callable[[int], list[float]]:
    call = grpc_call(port)
    return lambda count: latencies(lambda: call(request), count)


def _less(row: Mapping[str, float], alone: float) -> dict[str, float]:
    return {
        "p50": round(row["p50"] - alone, 4),
        "p99": round(row["p99"] - alone, 4),
        "cpu": round(row["cpu"], 4),
    }


def _session_ms(model: Path, values: int) -> float:
    """The median of the raw session call."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options)
    feeds = {"x": np.zeros((1, values), np.float32)}
    times = sorted(latencies(lambda: session.run(["y"], feeds), 2000))
    return round(1e3 * quantile(times, 0.5), 4)
