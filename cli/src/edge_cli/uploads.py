"""Uploads of files to a model store, and the ways to one."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge_cli.errors import CommandError

if TYPE_CHECKING:
    from edge_cli.connections import Connection
    from edge_runtime.store.client import Access, StoreClient

AUDIENCE: Final = "edge-model-store"
_CHUNK: Final = 1 << 20
_TOKEN: Final = "EDGE_STORE_TOKEN"  # noqa: S105 - the name of a variable
_HOURS: Final = 3600


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store, as a manifest names it."""

    storage_uri: str
    digest: str


def put(client: StoreClient, path: Path, name: str) -> Stored:
    """Uploads a file, and continues an upload of it that broke off. Raises CommandError, StorageError."""
    from edge_runtime.store.client import Sending
    from edge_runtime.store.progress import ProgressBar

    try:
        with path.open("rb") as file, ProgressBar(f"upload {path.name}") as bar:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = file.tell()
            sending = Sending(client, name, bar.update)
            file.seek(sending.begin(size, digest))
            while chunk := file.read(_CHUNK):
                sending.write(chunk)
            sending.end(digest)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror}): name a file") from error
    return Stored(f"store://{name}", digest)


@contextlib.contextmanager
def store_of(here: Connection, account: str) -> Iterator[StoreClient]:
    """Reaches the cluster's model store for the namespace of the connection, through the API server.

    account: the ServiceAccount of the namespace whose token is shown. Raises CommandError, ClusterError.
    """
    from edge_cli.forwarding import chosen_pod, container_port, forwarded
    from edge_operator.cluster import SERVICES
    from edge_runtime.store.client import Access, StoreClient

    operator = here.operator()
    namespace = operator.settings.namespace
    url = operator.settings.store_url or f"https://model-store.{namespace}.svc:8080"
    parts = urlsplit(url)
    name, _, rest = (parts.hostname or "").partition(".")
    where = rest.partition(".")[0] or namespace
    service = here.cluster.get(SERVICES, where, name)
    if service is None:
        raise CommandError(
            f"Service {where}/{name}: does not exist: give the address of a model store with --store"
        )
    pod, port = chosen_pod(here, service), parts.port or 8080
    access = Access(url, authority=_authority(here, namespace) if parts.scheme == "https" else None)
    with forwarded(here, where, pod["metadata"]["name"], container_port(pod, service, port)) as via:
        client = StoreClient(replace(access, connect_to=via.address), environment=_token(here, account))
        try:
            yield client
        finally:
            client.close()


@contextlib.contextmanager
def store_at(access: Access) -> Iterator[StoreClient]:
    """Reaches a model store at an address."""
    from edge_runtime.store.client import StoreClient

    client = StoreClient(access)
    try:
        yield client
    finally:
        client.close()


def _authority(here: Connection, namespace: str) -> str | None:
    from edge_operator.cluster import CONFIG_MAPS

    body = here.cluster.get(CONFIG_MAPS, namespace, "edge-ca")
    return None if body is None else (body.get("data") or {}).get("ca.crt")


def _token(here: Connection, account: str) -> Mapping[str, str]:
    """Returns the variable with a token of the account: one that is set already has precedence."""
    if os.environ.get(_TOKEN):
        return os.environ
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": _HOURS},
    }
    path = f"/api/v1/namespaces/{here.namespace}/serviceaccounts/{account}/token"
    return {_TOKEN: here.create(path, request)["status"]["token"]}
