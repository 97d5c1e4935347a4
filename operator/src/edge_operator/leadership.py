"""Which of several operators writes: the holder of a Lease, the mechanism of Kubernetes' own controllers.

A replica takes the Lease if no other holds it, or if it has not changed for its duration by the replica's
own monotonic clock, counted from when the replica had read it. The holder counts from before it sent its
renewal. So the holder stops before another one begins, however long requests take. Times of wall clocks are
written into the Lease for people, and never compared.

The holder begins a request that writes only if the Lease outlasts the time-out of that request. A process
that is stopped in between can still send it late. The API server then refuses it, since writes carry the
resourceVersion that they were decided on; in Triton it is recognized by the term (`tritons.fenced_triton`).

Another replica leads at most RETRY + DURATION seconds after the holder's end, and one RETRY after it gave the
Lease up, besides the duration of the requests.

Cost: one write every RENEW seconds by the holder, one read every RETRY seconds by each other replica.
"""

import asyncio
import datetime
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edge_operator import metrics
from edge_operator.cluster import LEASES, WRITE, Kind, Object
from edge_operator.errors import ClusterError, NotLeadingError, WriteConflictError
from edge_operator.terms import Term

NAME = "edge-operator"
DURATION = 11
"""Seconds for which a Lease holds after a renewal: more than WRITE and RENEW together, so that a renewal that
is late by 2 s delays no write."""
RENEW = 2.0
RETRY = 1.0
"""Seconds until another replica looks at the Lease again, at most: it jitters downwards by half."""
_RELEASES = 3
"""Attempts to give the Lease up."""
PATIENCE = 3.0
"""Seconds after which a request for the Lease is given up, so that one that hangs leaves time for another."""

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseStore(Protocol):
    """The API server as leadership uses it."""

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def create(self, body: Object) -> Object: ...
    def replace(self, body: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease, and since when (seconds, monotonic) it has been seen unchanged.

    holder: empty if it was given up. transitions: how often the holder has changed.
    """

    holder: str
    duration: float
    version: str
    since: float
    transitions: int = 0


def seen(body: Object, before: Seen | None, now: float) -> Seen:
    """Returns what a Lease says. before: as it was seen last. Pure."""
    spec = body.get("spec") or {}
    version = body["metadata"]["resourceVersion"]
    since = before.since if before is not None and before.version == version else now
    return Seen(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or DURATION),
        version=version,
        since=since,
        transitions=transitions(body),
    )


def may_take(lease: Seen, identity: str, now: float) -> bool:
    """Whether a replica may take the Lease: its own, a released or an expired one. Pure."""
    return lease.holder in ("", identity) or now - lease.since >= lease.duration


def claimed(current: Object | None, namespace: str, identity: str, wall: datetime.datetime) -> Object:
    """Returns the Lease with this replica as its holder. current: None before the first election. Pure."""
    now = wall.strftime(_FORMAT)
    spec = dict((current or {}).get("spec") or {})
    if spec.get("holderIdentity") != identity:
        spec["acquireTime"] = now
        spec["leaseTransitions"] = transitions(current or {}) + (current is not None)
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": DURATION, "renewTime": now}
    metadata = current["metadata"] if current is not None else {"name": NAME, "namespace": namespace}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def transitions(body: Object) -> int:
    """Returns how often the holder of a Lease has changed."""
    return int((body.get("spec") or {}).get("leaseTransitions") or 0)


def end_process() -> None:
    """Ends the process as the kubelet does: a replica that lost the leadership starts again from nothing."""
    os.kill(os.getpid(), signal.SIGTERM)


class Leadership:
    """One replica's part in the election. Its methods block, except `run`. Any thread may call `check`.

    identity: of the process, so that one that is started again in the same pod has a term of its own.
    """

    def __init__(
        self,
        leases: LeaseStore,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        *,
        jitter: Callable[[], float] = random.SystemRandom().random,
    ) -> None:
        self._leases, self._namespace, self._identity = leases, namespace, identity
        self._clock, self._wall, self._jitter = clock, wall, jitter
        self._seen: Seen | None = None
        self._body: Object | None = None
        """The Lease as this replica wrote it last."""
        self._held_until = float("-inf")
        self._resigned = False
        self.term: Term | None = None
        """The term in which this replica leads, or led last; None if it never did."""

    @property
    def leads(self) -> bool:
        """Whether this replica holds the Lease now."""
        return self._clock() < self._held_until

    @property
    def seen(self) -> Seen | None:
        """The Lease as this replica last saw it; None before the first look."""
        return self._seen

    def check(self, seconds: float = WRITE) -> None:
        """Raises NotLeadingError unless the Lease outlasts a request that begins now.

        seconds: that the request takes at most.
        """
        if self._clock() + seconds >= self._held_until:
            metrics.FENCED.inc()
            raise NotLeadingError(
                f"Lease {self._namespace}/{NAME} is not held by {self._identity} for another {seconds:g} s: "
                "nothing is written until it is"
            )

    def campaign(self) -> bool:
        """Takes or renews the Lease if possible; returns whether this replica leads. Raises ClusterError."""
        if self._body is not None and self.leads:
            try:
                return self._claim(self._body)
            except WriteConflictError:
                self._body = None  # someone wrote it: it is read
        body = self._leases.fetch(LEASES, self._namespace, NAME)
        if body is not None:
            # From after the request: the holder can have renewed the Lease while it was on its way.
            now = self._clock()
            self._seen = seen(body, self._seen, now)
            if not may_take(self._seen, self._identity, now):
                self._held_until = float("-inf")
                return False
        try:
            return self._claim(body)
        except WriteConflictError:
            return self.leads  # another replica was faster

    def resign(self) -> bool:
        """Lets no further write begin; returns whether this replica led."""
        led, self._resigned = self.leads, True
        self._held_until = float("-inf")
        return led

    def release(self) -> None:
        """Gives the Lease up, so that another replica takes it at once. Raises ClusterError."""
        self.resign()
        for left in reversed(range(_RELEASES)):
            body = self._leases.fetch(LEASES, self._namespace, NAME)
            if body is None or body["spec"].get("holderIdentity") != self._identity:
                return
            try:
                self._leases.replace(body | {"spec": body["spec"] | {"holderIdentity": ""}})
                return
            except WriteConflictError:  # the last renewal was still on its way
                if not left:
                    raise

    async def run(self, gained: Callable[[], None], lost: Callable[[], None]) -> None:
        """Campaigns until the leadership is lost, or cancelled.

        gained: called when this replica begins to lead. lost: called when it no longer does, at the end.
        """
        leading = False
        while True:
            try:
                now_leads = await asyncio.to_thread(self.campaign)
            except ClusterError as error:
                logging.getLogger(__name__).warning("the Lease cannot be renewed: %s", error)
                now_leads = self.leads
            if now_leads and not leading:
                logging.getLogger(__name__).info(
                    "%s leads: it holds the Lease in term %s", self._identity, self.term
                )
                leading = True
                gained()
            if leading and not now_leads:
                logging.getLogger(__name__).error("%s has lost the Lease: stopping", self._identity)
                lost()
                return
            await asyncio.sleep(RENEW if leading else RETRY * (1 - self._jitter() / 2))

    def _claim(self, body: Object | None) -> bool:
        """Writes the Lease with this replica as its holder. Raises WriteConflictError."""
        now = self._clock()  # from before the request
        wanted = claimed(body, self._namespace, self._identity, self._wall())
        written = self._leases.create(wanted) if body is None else self._leases.replace(wanted)
        self._seen, self._body = replace(seen(written, None, now), since=now), written
        self.term = Term(written["metadata"].get("uid", ""), transitions(written))
        # A renewal can be on its way while this replica resigns.
        self._held_until = float("-inf") if self._resigned else now + DURATION
        return not self._resigned
