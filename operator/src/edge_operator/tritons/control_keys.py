"""The keys that Triton servers require for model control, from Secrets in the operator's namespace."""

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_operator.cluster import SECRETS, Cluster
from edge_operator.errors import ClusterError, ControlDeniedError
from edge_operator.tritons.addresses import server_of

HEADER = "edge-model-control"
"""The header of a Secret that names none."""
_CACHED = 60.0
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class ControlKey:
    """A header of Triton's --http-restricted-api, and its value."""

    header: str
    key: str = field(repr=False)


class ControlKeys:
    """The key for each address. A Secret is read when a request needs its key, at most once a minute."""

    def __init__(self, cluster: Cluster, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._namespace, self._clock = cluster, namespace, clock
        self._lock = threading.Lock()
        self._names: dict[str, Mapping[str, str]] = {}
        self._cache: dict[str, tuple[ControlKey, float]] = {}

    def set_pool(self, pool: str, names: Mapping[str, str]) -> None:
        """Sets the names of the Secrets of a pool's servers, by their host and port; empty: pool is gone."""
        with self._lock:
            if names:
                self._names[pool] = dict(names)
            else:
                self._names.pop(pool, None)

    def key(self, address: str) -> ControlKey | None:
        """Returns the key of a server; None if no pool names a Secret for it. Raises ControlDeniedError."""
        server = server_of(address)
        with self._lock:
            name = next((names[server] for _, names in sorted(self._names.items()) if server in names), None)
            cached = self._cache.get(name or "")
        if name is None:
            return None
        if cached is not None and self._clock() - cached[1] < _CACHED:
            return cached[0]
        found = self._read(name)
        with self._lock:
            self._cache[name] = (found, self._clock())
        return found

    def forget(self, address: str) -> None:
        """Reads the Secret of a server again at the next request: the server refused the key."""
        server = server_of(address)
        with self._lock:
            for names in self._names.values():
                self._cache.pop(names.get(server, ""), None)

    def _read(self, name: str) -> ControlKey:
        where = f"Secret {self._namespace}/{name}"
        try:
            body = self._cluster.fetch(SECRETS, self._namespace, name)
        except ClusterError as error:
            raise ControlDeniedError(
                f"{where}: {error}: list it in operator.tritonControlSecrets of the chart"
            ) from error
        if body is None:
            raise ControlDeniedError(
                f'controlSecret: "{name}" does not exist in namespace {self._namespace}: create it with the '
                "server's key under key"
            )
        data = body.get("data") or {}
        key, header = _text(data, "key"), _text(data, "header") or HEADER
        if not key:
            raise ControlDeniedError(f"{where}: has no key of printable characters: set data.key")
        if not _NAME.fullmatch(header):
            raise ControlDeniedError(
                f'{where}: header: "{header}" is not the name of a header: use e.g. {HEADER}'
            )
        return ControlKey(header, key)


def _text(data: Mapping[str, str], name: str) -> str:
    """Returns a value without spaces around it; empty if it has no printable ASCII characters alone."""
    try:
        text = base64.b64decode(data.get(name, ""), validate=True).decode("ascii").strip()
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() else ""
