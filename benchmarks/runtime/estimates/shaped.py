"""Compares estimated and true rates of shaped links: `python -m benchmarks.runtime.estimates.shaped` (root).

Two network namespaces with a token bucket between them (`benchmarks.runtime.sites`), the runtime's
LinkMonitor in one, the store's sink in the other. At each rate: an idle link, which is measured by probes,
and requests of 20 and 100 kB that follow 0.15 s after the previous response, the small ones also to a remote
server that takes 50 ms, unknown to the runtime. The output has the estimate divided by the rate, without the
first two seconds, and the bytes of probes. The shaper counts Ethernet frames, so the best ratio is 0.96.
Prints one JSON object as its last line.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from benchmarks.runtime.commands import reported, say
from benchmarks.runtime.sites import EDGE, Site, site
from edge_runtime.asgi import Receive, Scope, Send, chunks, respond
from edge_runtime.assignment import LinkSettings
from edge_runtime.connections import Connection, HttpClient, Resolver
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.sockets import Transfer
from edge_runtime.store.app import StoreApp

RATES = (1e6, 5e6, 20e6)
CASES = (
    ("idle", 0, 0.0),
    ("20 kB", 20_000, 0.0),
    ("20 kB, slow server", 20_000, 0.05),
    ("100 kB", 100_000, 0.0),
)
PORT = 8080
HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}
PAUSE, LOOK, SETTLED = 0.15, 0.2, 2.0


class Far:
    """The store's sink, and an echo with a delay."""

    def __init__(self, folder: Path) -> None:
        self._store = StoreApp(folder, 1 << 20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["path"].startswith("/v1/"):
            await self._store(scope, receive, send)
            return
        async for _ in chunks(receive):
            pass
        await asyncio.sleep(float(scope["query_string"] or b"0"))
        await respond(send, 200, b"{}")


async def watch(url: str, seconds: float, size: int, think: float) -> dict[str, Any]:
    """Uses a link for some time, with or without requests; returns its monitor's estimates."""
    cost, looks = 0, []

    def paid(size: int) -> None:
        nonlocal cost
        cost += size

    resolver = Resolver()
    monitor = LinkMonitor(
        LinkSettings(peer="cloud", probe=f"{url}/v1/probe"), resolver, lambda **_: None, on_probe=paid
    )
    client = HttpClient(url, resolver)
    monitor.start()
    begun = time.perf_counter()
    while (now := time.perf_counter() - begun) < seconds:
        report = monitor.report()
        if now > SETTLED and report.bandwidth is not None:
            looks.append((report.bandwidth, report.bandwidth_low))
        if size:
            await _ask(client, monitor, size, think)
        await asyncio.sleep(PAUSE if size else LOOK)
    await monitor.stop()
    client.close()
    return {"looks": looks, "probe_bytes": cost}


async def _ask(client: HttpClient, monitor: LinkMonitor, size: int, think: float) -> None:
    transfer: Transfer | None = None

    def begin(connection: Connection) -> None:
        nonlocal transfer
        assert connection.socket is not None
        transfer = monitor.begin(connection.socket, size)

    await client.request("POST", f"/?{think}", [bytes(size)], within=10.0, on_start=begin)
    assert transfer is not None
    monitor.finish(transfer, 0.0)


def measured(place: Site, rate: float, seconds: float) -> dict[str, object]:
    """All cases at one rate."""
    place.shape(rate)
    found: dict[str, object] = {"rate_bps": rate}
    for name, size, think in CASES:
        url = f"http://{place.address('cloud')}:{PORT}"
        argv = [sys.executable, "-m", "benchmarks.runtime.estimates.shaped", "--watch", url]
        argv += [f"{number:g}" for number in (seconds, size, think)]
        watcher = place.start("watch", EDGE, argv, HERE, talking=True)
        assert watcher.process.stdout is not None
        said = json.loads(watcher.process.stdout.read())
        watcher.end()
        level, low = np.array(said["looks"], dtype=np.float64).T / rate
        found[name] = {
            "over_rate_p10_p50_p90": [round(float(q), 3) for q in np.quantile(level, (0.1, 0.5, 0.9))],
            "low_over_rate_p50": round(float(np.median(low)), 3),
            "probe_bytes": said["probe_bytes"],
        }
    say(json.dumps(found))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """All rates."""
    parser = argparse.ArgumentParser(prog="shaped", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each case")
    parser.add_argument("--watch", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.watch:
        url, seconds, size, think = arguments.watch
        print(json.dumps(asyncio.run(watch(url, float(seconds), int(float(size)), float(think)))))
        return 0
    if arguments.serve:
        with tempfile.TemporaryDirectory() as folder:
            app: Any = Far(Path(folder))
            uvicorn.run(app, host=arguments.serve, port=PORT, log_config=None, lifespan="off", ws="none")
        return 0
    return reported("shaped", lambda folder: measure(folder, arguments.seconds))


def measure(folder: Path, seconds: float) -> dict[str, object]:
    """Runs all cases at all rates, for `seconds` each."""
    with site(folder, say) as place:
        far = [sys.executable, "-m", "benchmarks.runtime.estimates.shaped", "--serve", place.address("cloud")]
        place.start("far", "cloud", far, HERE)
        time.sleep(3.0)
        return {"seconds": seconds, "rates": [measured(place, rate, seconds) for rate in RATES]}


if __name__ == "__main__":
    sys.exit(main())
