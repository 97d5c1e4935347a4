"""A restart of the operator with nothing changed: its writes, requests to the store, failed requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from benchmarks.pool import idle
from benchmarks.pool.site import Site, operators
from demo.installation import NAMESPACE
from demo.testbed_cluster import NODES

_REQUEST_SECONDS: Final = 0.5


def measure(site: Site, *, quick: bool) -> dict[str, int]:
    """Deletes the operator's pod under load; counts until a while after the next one is Ready."""
    names = idle.started(site)
    site.watch("settling", 5.0 if quick else 30.0)
    clients = [
        site.client(node.name, "--every", str(_REQUEST_SECONDS), *site.hosts(names, node.name))
        for node in NODES
    ]
    asked, start = site.store_requests(), datetime.now(UTC)
    pod = site.operator_pod()
    if pod is not None:
        site.bed.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--wait=false")
    site.wait("the operator's next pod Ready", lambda: site.operator_pod() is not None, 180)
    _, end = site.watch("after the restart", 10.0 if quick else 60.0)
    requests, failed = 0, 0
    for client in clients:
        for each in json.loads(client.communicate()[0]).values():
            requests, failed = requests + len(each["seconds"]) + each["failed"], failed + each["failed"]
            if each["failed"]:
                site.say(f"failed: {each['error']}")
    found = site.requests(start, end)
    site.say(f"operator: {found.by_request(operators)}; clients sent {requests} requests")
    return {
        "writes": found.writes(operators),
        "store_requests": int(site.store_requests() - asked),
        "failed_requests": failed,
    }
