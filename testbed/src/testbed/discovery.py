"""Service discovery for Prometheus: Debian's build lacks that of Kubernetes.

Runs as a file of its own with the standard library only: `python -I discovery.py SERVER CA CERTIFICATE KEY
TARGETS`. Polls the API server every few seconds and writes TARGETS, a file for Prometheus' file_sd, if the
pods changed.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

EVERY_SECONDS = 5
ANNOTATION = "prometheus.io/"


def targets(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the groups of file_sd for the running pods annotated prometheus.io/scrape: "true"."""
    groups = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status", {})
        annotations = meta.get("annotations") or {}
        port, address = annotations.get(ANNOTATION + "port"), status.get("podIP")
        if (
            annotations.get(ANNOTATION + "scrape") == "true"
            and port
            and address
            and status.get("phase") == "Running"
        ):
            own = meta.get("labels") or {}
            container = pod["spec"]["containers"][0]["name"]
            labels = {
                "__metrics_path__": annotations.get(ANNOTATION + "path", "/metrics"),
                "namespace": meta["namespace"],
                "pod": meta["name"],
                "container": container,
                "node": pod["spec"].get("nodeName", ""),
                "job": f"{meta['namespace']}/{own.get('app.kubernetes.io/name', container)}",
            }
            groups.append({"targets": [f"{address}:{port}"], "labels": labels})
    return sorted(groups, key=lambda group: group["targets"])


def main() -> None:
    """Polls and writes until terminated."""
    server, authority, certificate, key, path = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    told = None
    while True:
        try:
            request = urllib.request.Request(f"{server}/api/v1/pods")  # noqa: S310 - the testbed's own API server
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
                found = targets(json.load(answer)["items"])
        except OSError as error:
            sys.stderr.write(f"{error}\n")
        else:
            if found != told:
                unfinished = Path(path + ".new")
                unfinished.write_text(json.dumps(found))
                unfinished.replace(path)
                told = found
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main()
