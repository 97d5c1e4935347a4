"""A local address for a port of a pod, through the API server, as `kubectl port-forward` gives one.

Only this module opens streams of the API server. Each connection to the local address has its own stream.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from edge_cli.errors import CommandError, ExitStatus

if TYPE_CHECKING:
    from edge_cli.connections import Connection
    from edge_operator.cluster import Object

_CHUNK: Final = 1 << 16
_PATIENCE: Final = 15.0
"""Seconds until the API server has to have opened a stream."""


class Forwarder:
    """Listens on a free local port until it is closed."""

    def __init__(self, connection: Connection, namespace: str, pod: str, port: int) -> None:
        self._connection, self._namespace, self._pod, self._port = connection, namespace, pod, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.failure = ""
        """Why the last stream could not be opened, or ended."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port to connect to."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Stops listening. Connections end with their clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                stream = self._open()
            except Exception as error:  # the client of Kubernetes raises errors of several libraries
                self.failure = _words(error)
                return
            far = stream.socket(self._port)
            there = threading.Thread(target=_copy, args=(client, far), daemon=True)
            there.start()
            _copy(far, client)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            there.join(_PATIENCE)
            self.failure = stream.error(self._port) or self.failure
            stream.close()

    def _open(self) -> Any:  # noqa: ANN401 - the client has no types
        import kubernetes.client
        from kubernetes.stream import portforward

        assert self._connection.client is not None, "a forwarder needs an API server"
        # The stream replaces a method of its client, so each has its own.
        own = kubernetes.client.ApiClient(self._connection.client.configuration)
        connect = kubernetes.client.CoreV1Api(own).connect_get_namespaced_pod_portforward
        return portforward(
            connect, self._pod, self._namespace, ports=str(self._port), _request_timeout=_PATIENCE
        )


@contextlib.contextmanager
def forwarded(connection: Connection, namespace: str, pod: str, port: int) -> Iterator[Forwarder]:
    """Forwards a port while the block runs."""
    found = Forwarder(connection, namespace, pod, port)
    try:
        yield found
    finally:
        found.close()


def pods_behind(connection: Connection, service: Object) -> list[Object]:
    """Returns the pods of a Service that run, the ready ones first. Raises ClusterError."""
    from edge_operator.cluster import PODS

    selector = service["spec"].get("selector") or {}
    if not selector:
        return []
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    found = connection.cluster.find(PODS, service["metadata"]["namespace"], labels)
    running = [pod for pod in found if (pod.get("status") or {}).get("phase") == "Running"]
    return sorted(running, key=lambda pod: (not ready(pod), pod["metadata"]["name"]))


def ready(pod: Object) -> bool:
    """Whether a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def container_port(pod: Object, service: Object, port: int) -> int:
    """Returns the port of the pod to which a Service sends what arrives at one of its ports."""
    wanted = next((each for each in service["spec"].get("ports") or () if each["port"] == port), None)
    target = port if wanted is None else wanted.get("targetPort", port)
    if isinstance(target, int):
        return target
    named = (p for c in pod["spec"]["containers"] for p in c.get("ports") or () if p.get("name") == target)
    return int(next((each["containerPort"] for each in named), port))


def chosen_pod(connection: Connection, service: Object, node: str | None = None) -> Object:
    """Returns a ready pod of a Service. node: where it must run.

    Raises CommandError without one, and ClusterError.
    """
    metadata = service["metadata"]
    found = [pod for pod in pods_behind(connection, service) if ready(pod)]
    if node is not None:
        there = sorted({pod["spec"].get("nodeName") for pod in found})
        found = [pod for pod in found if pod["spec"].get("nodeName") == node]
        if not found and there:
            raise CommandError(f'--at: "{node}" has no ready pod: use one of {", ".join(there)}')
    if not found:
        raise CommandError(
            f"Service {metadata['namespace']}/{metadata['name']}: no pod is ready: see `ei status`",
            ExitStatus.UNREACHABLE,
        )
    return found[0]


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copies until the source ends; then ends the target's input."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split())[:300]
