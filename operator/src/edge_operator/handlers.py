"""kopf's handlers: they feed the mirror, and tell the operator of events.

Only raw events are used (`kopf.on.event`): kopf then adds neither annotations nor finalizers to objects. The
mirror is filled by a list of every kind before kopf begins to watch, so that no plan sees half a cluster.
`kopf.index` would do so, too, but wakes all objects that wait for the others whenever one is added: its time
grows with the square of the number of objects.

Cost: one list and one watch a kind.
"""

import asyncio
import gc
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import kopf
import prometheus_client

from edge_operator.clients import connected
from edge_operator.cluster import ApiServer, Kind
from edge_operator.errors import ClusterError
from edge_operator.health import Health
from edge_operator.health_server import HealthServer
from edge_operator.installation import identified
from edge_operator.leadership import PATIENCE, Leadership
from edge_operator.loops.operator import Operator
from edge_operator.names import GROUP, OURS
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import MirroredCluster, fill
from edge_operator.observed.watched import KINDS_BY_PLURAL, LABELLED, WATCHED, watched_in
from edge_operator.settings import Settings
from edge_operator.store import ModelStore
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.fenced_triton import FencedTriton
from edge_operator.tritons.triton import TritonServers

_COLLECTED = 50_000
"""New objects with references after which the garbage collector looks through them; 700 by default."""


def run(namespace: str | None, settings: Settings, liveness_port: int, log_format: str) -> None:
    """Runs until SIGTERM. namespace: watched besides the operator's own, where its Jobs run; None: all."""
    # Plans are made of many small values: by default, the whole mirror would be looked through often.
    gc.set_threshold(_COLLECTED, 20, 50)
    health = Health()
    if liveness_port:
        HealthServer(settings.listen, liveness_port, lambda: health.state).start()
    kopf.configure(log_format=kopf.LogFormat.JSON if log_format == "json" else kopf.LogFormat.FULL)
    # These log each event and each request.
    for noisy in ("kopf.objects", "kopf.activities", "httpx", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    kopf.run(
        standalone=True,
        # Without an identity, kopf looks up the user's name, which a container's user can lack.
        identity=cast("Any", socket.gethostname()),
        clusterwide=namespace is None,
        namespaces=[] if namespace is None else sorted({namespace, settings.namespace}),
        memo=kopf.Memo(health=health),
    )


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Reads the environment, connects, identifies the installation, starts the operator."""
    configure(settings)
    environment = Settings.from_environment(os.environ)
    scope = os.environ.get("EDGE_WATCH_NAMESPACE") or None
    server, mirror = ApiServer.from_environment(), Mirror()
    try:
        environment = await asyncio.to_thread(identified, environment, server, scope)
        await asyncio.to_thread(_fill, server, mirror, environment, scope)
    except ClusterError as error:
        raise kopf.TemporaryError(str(error), delay=5) from error
    folder = Path(environment.tls_dir) if environment.tls_dir else None
    token = Path(environment.store_token) if environment.store_token else None
    store = ModelStore(environment.store_url, certificates=folder, token=token)
    keys = ControlKeys(server, environment.namespace)
    identity = f"{os.environ.get('EDGE_POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
    leadership = Leadership(server.within(PATIENCE), environment.namespace, identity)
    fenced = server.fenced(leadership.check)
    triton = FencedTriton(TritonServers(folder, keys), leadership)
    clients = connected(MirroredCluster(fenced, mirror), store, triton)
    port = int(os.environ.get("EDGE_METRICS_PORT") or "0")
    memo.operator = operator = Operator(
        clients, environment, scope, fenced, mirror, leadership, keys=keys, health=memo.health
    )
    if port:
        prometheus_client.REGISTRY.register(memo.health)
        prometheus_client.REGISTRY.register(operator.object_metrics)
        prometheus_client.start_http_server(port, environment.listen)
    operator.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Ends the operator."""
    if "operator" in memo:
        await memo.operator.stop()


class NoDifferences(kopf.DiffBaseStorage):
    """Keeps kopf from copying and comparing every object of every event, which only other handlers need."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """Returns nothing of an object."""
        return {}

    def fetch(self, **_: object) -> kopf.BodyEssence | None:
        """Returns that an object is new, as without annotations of kopf."""
        return None

    def store(self, **_: object) -> None:
        """Stores nothing."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Limits the duration of watch streams, so that a dropped connection is noticed."""
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    # Raw events persist nothing; if that changes, use the project's prefix.
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NoDifferences()
    for kind in LABELLED:
        settings.watching.label_selectors[kind.plural] = OURS


def _fill(server: ApiServer, mirror: Mirror, settings: Settings, scope: str | None) -> None:
    """Lists what is watched. Raises ClusterError."""
    namespaces = None if scope is None else sorted({scope, settings.namespace})
    for kind in WATCHED:
        fill(server, mirror, kind, *watched_in(kind, namespaces))


def _register(
    handler: Callable[..., object], decorator: Callable[..., Callable[..., object]], kinds: Iterable[Kind]
) -> None:
    """Registers a handler for several kinds."""
    for kind in kinds:
        group, _, version = kind.api_version.rpartition("/")
        decorator(group, version, kind.plural)(handler)


async def observe(
    type: str | None,  # noqa: A002
    body: kopf.Body,
    memo: kopf.Memo,
    resource: kopf.Resource,
    **_: object,
) -> None:
    """Puts an object into the mirror or removes it, and tells the operator of the event."""
    operator, found = memo.operator, dict(body)
    if type == "DELETED":
        operator.mirror.remove(resource.kind, found)
    else:
        operator.mirror.put(resource.kind, found)
    operator.hear()
    own = type != "DELETED" and operator.mirror.wrote(resource.kind, found)
    operator.event(KINDS_BY_PLURAL[resource.plural], type, found, own=own)


_register(observe, kopf.on.event, WATCHED)
