"""Keeps the certificates of an installation valid: its own, and one for the runtimes of each namespace."""

import asyncio
import contextlib
import datetime
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from edge_operator.authority import failures, issuing, provision
from edge_operator.authority.failures import Failure, SecretKey, Uncertified
from edge_operator.authority.issuing import Pair
from edge_operator.authority.provision import Holder
from edge_operator.authority.webhook_trust import trust, webhook_holder
from edge_operator.cluster import CONFIG_MAPS, SECRETS, Cluster, Kind
from edge_operator.errors import ClusterError, ObjectRefusedError
from edge_operator.nodes.peers import PEER_SECRET
from edge_operator.settings import Settings
from edge_operator.steps import RUNNING

STORE_SECRET: Final = "model-store-tls"  # noqa: S105 - a name
NODE_CACHE_SECRET: Final = "edge-node-cache-tls"  # noqa: S105 - a name
OPERATOR_SECRET: Final = "edge-operator-tls"  # noqa: S105 - a name
NODE_CACHE: Final = "edge-node-cache"
"""Name of the Service of the caches of nodes."""
EVERY: Final = 600.0
"""Seconds between two looks at all certificates, which read each of them."""
_RETRY: Final = 5.0
_DOUBLINGS: Final = 10
"""More than it takes from the first retry to EVERY."""

_log = logging.getLogger(__name__)


class Upkeep:
    """Issues what is due. Blocking and safe to call from several threads; only the leader may.

    cluster: without a mirror, which would keep private keys. placed: returns the namespaces with Placements.
    clock: the current time in UTC.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        placed: Callable[[], set[str]],
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._cluster, self._settings, self._clock = cluster, settings, clock
        self._placed = placed
        self._trusted: dict[str, Pair] = {}
        self._provided: set[str] = set()
        """Namespaces with a certificate since the last `renew`; those with one at all are `_issued`."""
        self._issued: set[str] = set()
        self._failures: Mapping[SecretKey, Failure] = {}
        """Of the last attempts. Replaced whole: read without the lock, which is held during requests."""
        self._lock = threading.Lock()

    @property
    def failures(self) -> dict[str, tuple[str, ...]]:
        """Why Secrets are not issued or renewed, by namespace."""
        return failures.reported(self._failures, self._clock())

    def renew(self) -> None:
        """Issues what is due for the installation and for every namespace with Placements.

        Raises the first error. A Secret that is refused does not keep the others from being issued, except
        that of the authority.
        """
        errors: list[ClusterError] = []
        with self._lock:
            namespace, own = self._settings.namespace, _operator(self._settings)
            with self._attempt(SecretKey(namespace, provision.AUTHORITY_SECRET)):
                self._trusted = provision.authorities(self._cluster, namespace, self._clock())
            caches = [_node_caches(self._settings)] if self._settings.node_cache_url else []
            for holder in (_store(self._settings), own, *caches):
                with _collected(errors):
                    self._provide(holder)
            webhook = webhook_holder(self._settings)
            if webhook is not None:
                with _collected(errors):
                    self._provide_webhook(webhook)
            self._provided.clear()
        for each in sorted(self._placed()):
            with _collected(errors):
                self.provide(each)
        if errors:
            raise errors[0]

    def provide(self, namespace: str) -> None:
        """Issues the certificate of a namespace's runtimes, and removes it with the last Placement.

        Costs no request after the first call until the next `renew`. Raises ClusterError.
        """
        with self._lock:
            if namespace not in self._placed():
                if namespace in self._issued:
                    self._remove(SECRETS, namespace, PEER_SECRET)
                    if namespace != self._settings.namespace:
                        self._remove(CONFIG_MAPS, namespace, provision.TRUST_CONFIG_MAP)
                    self._provided.discard(namespace)
                    self._issued.discard(namespace)
                self._forget(SecretKey(namespace, PEER_SECRET))
                return
            if namespace in self._provided:
                return
            if not self._trusted:
                raise ClusterError(
                    f"Secret {namespace}/{PEER_SECRET}: not yet issued: waiting for the authority in Secret "
                    f"{self._settings.namespace}/{provision.AUTHORITY_SECRET}"
                )
            self._provide(provision.runtimes(namespace, PEER_SECRET, self._settings.cluster_domain))
            self._provided.add(namespace)
            self._issued.add(namespace)

    def certify(self, namespace: str) -> Uncertified | None:
        """Like `provide`, but returns why the API server refuses what is due."""
        try:
            self.provide(namespace)
        except ObjectRefusedError as error:
            holder = provision.runtimes(namespace, PEER_SECRET, self._settings.cluster_domain)
            return Uncertified(str(error), serving=provision.has_valid(self._cluster, holder, self._clock()))
        return None

    async def run(
        self,
        started: Callable[[], None],
        attempted: Callable[[], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Renews at once and every EVERY seconds, after a failure sooner. Runs until cancelled.

        started: called after the first attempt, also if it failed: what needs no certificate continues.
        attempted: called after every attempt.
        """
        first, failed = True, 0
        while True:
            wait = EVERY
            try:
                with RUNNING.step("certificates", "renewal of certificates"):
                    await asyncio.to_thread(self.renew)
            except Exception as error:
                wait = min(EVERY, _RETRY * 2.0**failed)
                failed = min(failed + 1, _DOUBLINGS)
                if isinstance(error, ClusterError):
                    _log.warning("certificates are not renewed: %s", error)
                else:
                    _log.exception("certificates are not renewed")
            else:
                failed = 0
            if first:
                started()
                first = False
            attempted()
            await pause(wait)

    def _remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Deletes an object as it is now, which no mirror has."""
        found = self._cluster.fetch(kind, namespace, name)
        if found is not None:
            self._cluster.delete(kind, namespace, name, found)

    def _provide(self, holder: Holder) -> None:
        with self._attempt(SecretKey(holder.namespace, holder.secret)):
            provision.provide(self._cluster, holder, self._trusted, self._clock())
            if holder.secret == OPERATOR_SECRET:
                provision.write_files(self._cluster, holder, Path(self._settings.tls_dir))

    def _provide_webhook(self, holder: Holder) -> None:
        with self._attempt(SecretKey(holder.namespace, holder.secret)):
            provision.provide(self._cluster, holder, self._trusted, self._clock())
            authority = issuing.bundle(pair.certificate for pair in self._trusted.values())
            trust(self._cluster, self._settings.admission_webhook, authority)

    @contextlib.contextmanager
    def _attempt(self, secret: SecretKey) -> Iterator[None]:
        """Notes whether a Secret could be issued."""
        try:
            yield
        except Exception as error:
            found = failures.failure(secret, error, self._failures.get(secret), self._clock())
            self._failures = {**self._failures, secret: found}
            raise
        self._forget(secret)

    def _forget(self, secret: SecretKey) -> None:
        if secret in self._failures:
            self._failures = {key: each for key, each in self._failures.items() if key != secret}


@contextlib.contextmanager
def _collected(errors: list[ClusterError]) -> Iterator[None]:
    """Logs and collects an error, so that what follows is done all the same."""
    try:
        yield
    except ClusterError as error:
        _log.warning("%s", error)
        errors.append(error)


def _store(settings: Settings) -> Holder:
    """Returns the holder for the model store, whose clients trust the authority in a ConfigMap."""
    name = f"model-store.{settings.namespace}"
    names = {name, f"{name}.svc", f"{name}.svc.{settings.cluster_domain}"}
    return Holder(settings.namespace, STORE_SECRET, frozenset(names), published=True)


def _node_caches(settings: Settings) -> Holder:
    """Returns the holder for the caches of all nodes, which have one Service."""
    name = f"{NODE_CACHE}.{settings.namespace}"
    names = {name, f"{name}.svc", f"{name}.svc.{settings.cluster_domain}"}
    return Holder(settings.namespace, NODE_CACHE_SECRET, frozenset(names))


def _operator(settings: Settings) -> Holder:
    """Returns the holder for the operator and its profiling Jobs, which only connect."""
    return Holder(settings.namespace, OPERATOR_SECRET, frozenset({f"edge-operator.{settings.namespace}.svc"}))
