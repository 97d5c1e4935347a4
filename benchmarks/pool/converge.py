"""How long the operator needs to place many services at once, and what each costs the API server.

The entry nodes are simulated by kwok: their pods are Ready at once and run nothing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from benchmarks.pool.services import HOSTNAME, NAMESPACE, pool, service
from benchmarks.pool.site import DIGITS, Site, operators, product
from testbed.kwok import NODE_LABEL

_CLASS: Final = "camera"
_FIRST: Final = "converge-profiled"


def measure(site: Site, *, quick: bool) -> dict[str, object]:
    """Returns the seconds from the first service's creation until every service has its Placements."""
    count, nodes = (10, 2) if quick else (200, 4)
    site.clear()
    # Simulated nodes cannot measure a model: a real node of their class in the pool does, before they exist.
    real, simulated = {HOSTNAME: "edge-b"}, {NODE_LABEL: "true"}
    groups = [(_CLASS, real), (_CLASS, simulated)]
    site.apply([pool("simulated", groups), service(_FIRST, pool="simulated", file=DIGITS, entries=real)])
    site.wait_ready([_FIRST])
    site.bed.start_kwok(nodes, site.say)
    names, within = {f"converge-{number}" for number in range(count)}, ("-n", NAMESPACE)
    start, began = datetime.now(UTC), time.monotonic()
    site.apply(
        [
            service(name, pool="simulated", file=DIGITS, mode="LocalOnly", entries=simulated)
            for name in sorted(names)
        ]
    )

    def placed() -> int:
        path = "jsonpath={.items[*].spec.service}"
        return sum(
            name in names for name in site.bed.kubectl("get", "placements", *within, "-o", path).split()
        )

    wanted = count * nodes
    site.wait(
        f"{count} services at {nodes} nodes",
        lambda: placed() >= wanted,
        900,
        lambda: f"{placed()} of {wanted} placements",
    )
    seconds = time.monotonic() - began
    found = site.requests(start, datetime.now(UTC))
    site.say(f"operator: {found.by_request(operators)}")
    site.clear()
    site.bed.kubectl("delete", "nodes", "-l", f"{NODE_LABEL}=true")
    requests = found.writes(product) + found.reads(product)
    return {
        "services": count,
        "seconds": round(seconds, 1),
        "api_requests_per_service": round(requests / count, 1),
    }
