"""A restart of the operator: its writes and requests to the store, and failed requests under load."""

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
    """Restarts the operator twice: without traffic, where nothing changes but the operator, and under load.

    Under load, statuses and tables follow what is measured, so writes are not counted there.
    """
    names = idle.started(site)
    site.watch("settling", 5.0 if quick else 60.0)
    store, start = site.store_requests(), datetime.now(UTC)
    _restart(site, quick=quick)
    found = site.requests(start, datetime.now(UTC))
    site.say(f"operator: {found.by_request(operators)}")
    store = site.store_requests() - store
    clients = [
        site.client(node.name, "--every", str(_REQUEST_SECONDS), *site.hosts(names, node.name))
        for node in NODES
    ]
    site.watch("under load", 5.0 if quick else 30.0)
    _restart(site, quick=quick)
    requests, failed = 0, 0
    for client in clients:
        for each in json.loads(client.communicate()[0]).values():
            requests, failed = requests + len(each["seconds"]) + each["failed"], failed + each["failed"]
            if each["failed"]:
                site.say(f"failed: {each['error']}")
    site.say(f"clients sent {requests} requests")
    return {"writes": found.writes(operators), "store_requests": int(store), "failed_requests": failed}


def _restart(site: Site, *, quick: bool) -> None:
    """Deletes the operator's pod; returns a while after the next one is Ready."""
    pod = site.operator_pod()
    if pod is not None:
        site.bed.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--wait=false")
        gone = pod["metadata"]["uid"]
        site.wait("the operator's next pod Ready", lambda: _next(site, gone), 180)
    site.watch("after the restart", 10.0 if quick else 60.0)


def _next(site: Site, gone: str) -> bool:
    pod = site.operator_pod()
    return pod is not None and pod["metadata"]["uid"] != gone
