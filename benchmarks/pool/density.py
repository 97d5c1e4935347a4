"""Memory of many small services of one namespace at one node, and whether their latency holds."""

from __future__ import annotations

import json
from typing import Final

from benchmarks.pool.processes import processes_of, pss_bytes
from benchmarks.pool.services import HOSTNAME, LATENCY_SECONDS, edge_pool, service
from benchmarks.pool.site import DIGITS, Site
from benchmarks.runtime.quantiles import quantile

NODE: Final = "edge-a"


def measure(site: Site, *, quick: bool) -> dict[str, object]:
    """Returns the PSS of the first service and of each more (MB), after requests to each service."""
    count, requests = (3, 10) if quick else (20, 100)
    names = [f"dense-{number}" for number in range(count)]
    site.clear()
    site.apply([edge_pool()])
    _grow(site, names[:1])
    _served(site, names[:1], requests)
    first = _memory(site)
    _grow(site, names)
    p95 = _served(site, names, requests)
    total = _memory(site)
    site.say(f"{count} services: {total:.0f} MB in {len(site.runtimes())} pods; worst p95 {p95 * 1e3:.1f} ms")
    site.clear()
    return {
        "services_per_node": count,
        "memory_mb_first": round(first, 1),
        "memory_mb_each_more": round((total - first) / (count - 1), 1),
        "p95_met": p95 <= LATENCY_SECONDS,
    }


def _grow(site: Site, names: list[str]) -> None:
    entries = {HOSTNAME: NODE}
    site.apply([service(name, pool="bench", file=DIGITS, entries=entries) for name in names])
    site.wait_ready(names)


def _served(site: Site, names: list[str], requests: int) -> float:
    """Sends requests to every service; returns the worst of their 95th percentiles in seconds."""
    client = site.client(NODE, "--count", str(requests), *site.hosts(names, NODE))
    site.say(f"{requests} requests to each of {len(names)} services ...")
    rows = json.loads(client.communicate()[0]).values()
    answered = [sorted(row["seconds"]) + [float("inf")] * row["failed"] for row in rows]
    return max(quantile(each, 0.95) for each in answered)


def _memory(site: Site) -> float:
    uids = [pod["metadata"]["uid"] for pod in site.runtimes()]
    return pss_bytes(processes_of(uids)) / 1e6
