"""The benchmark's own connections to the API server: writes in several threads, and watches."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import kubernetes.client
import kubernetes.config

from benchmarks.operator.fleet import Document
from benchmarks.operator.observed import Key, Observed
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS, Kind
from edge_operator.errors import ApiUnreachableError
from edge_operator.list_watch import Expired, ListWatch
from testbed.errors import TestbedError

WRITERS: Final = 8
_TIMEOUT: Final = 30.0


class Writer:
    """Writes objects. Each thread has a connection of its own."""

    def __init__(self, port: int, pki: Path, user: str) -> None:
        self._port, self._local = port, threading.local()
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / f"{user}.crt", pki / f"{user}.key")

    def create(self, bodies: Iterable[Document]) -> int:
        """Creates objects. Returns their number."""
        with ThreadPoolExecutor(WRITERS) as threads:
            return sum(1 for _ in threads.map(self._create, bodies))

    def patch(self, kind: Kind, key: Key, changes: Document) -> None:
        """Merges changes into an object of a namespace."""
        path = f"/apis/{kind.api_version}/namespaces/{key[0]}/{kind.plural}/{key[1]}"
        self._send("PATCH", path, changes, "application/merge-patch+json")

    def _create(self, body: Document) -> None:
        version = body["apiVersion"]
        namespace = body["metadata"].get("namespace")
        scope = f"/namespaces/{namespace}" if namespace else ""
        root = "/apis/" if "/" in version else "/api/"
        path = f"{root}{version}{scope}/{body['kind'].lower()}s"
        self._send("POST", path, body, "application/json")

    def _send(self, method: str, path: str, body: Document, content: str) -> None:
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, path, json.dumps(body), {"Content-Type": content})
                response = connection.getresponse()
                text = response.read()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                del self._local.connection
                if attempt == 2:
                    raise TestbedError(f"{method} {path}: {error}") from error
        if response.status >= 300:
            raise TestbedError(f"{method} {path}: {response.status} {text[:500].decode(errors='replace')}")

    def _connection(self) -> http.client.HTTPSConnection:
        if not hasattr(self._local, "connection"):
            made = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context, timeout=_TIMEOUT
            )
            self._local.connection = made
        found: http.client.HTTPSConnection = self._local.connection
        return found


class Watches:
    """Keeps an `Observed` up to date, in threads that end with this process."""

    def __init__(self, kubeconfig: Path) -> None:
        self.observed = Observed()
        self._kubeconfig = kubeconfig
        self._stopped = threading.Event()

    def start(self) -> None:
        """Starts them."""
        takers: dict[Kind, Callable[[Document], None]] = {
            INFERENCE_SERVICES: self.observed.service,
            PLACEMENTS: lambda body: self.observed.placement(body, time.monotonic()),
        }
        for kind, take in takers.items():
            threading.Thread(target=self._run, args=(kind, take), daemon=True).start()

    def stop(self) -> None:
        """Ends each thread after its current event."""
        self._stopped.set()

    def _run(self, kind: Kind, take: Callable[[Document], None]) -> None:
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
            str(self._kubeconfig), client_configuration=configuration
        )
        lists = ListWatch(kubernetes.client.ApiClient(configuration))
        while not self._stopped.is_set():
            try:
                for body in _bodies(lists, kind):
                    take(body)
                    if self._stopped.is_set():
                        return
            except (ApiUnreachableError, Expired):
                self._stopped.wait(1.0)


def _bodies(lists: ListWatch, kind: Kind) -> Iterator[Document]:
    found = lists.objects(kind, None)
    yield from found.items
    version = found.version
    while True:
        for _, body in lists.watch(kind, None, version):
            version = body["metadata"]["resourceVersion"]
            if "spec" in body:
                yield body
