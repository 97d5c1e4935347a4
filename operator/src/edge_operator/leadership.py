"""Which of several operators writes: the holder of a Lease, the mechanism of Kubernetes' own controllers.

A replica takes the Lease if no other holds it, or if it has not changed for its duration by the replica's own
monotonic clock: times of wall clocks are written into the Lease for people, and never compared. The holder
begins a write only if the Lease outlasts the longest time that a write can take, so that two operators never
write at once.

Cost: one read and one write every RENEW seconds by the holder, one read every RETRY seconds by the others.
"""

import asyncio
import datetime
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edge_operator.cluster import LEASES, Kind, Object
from edge_operator.errors import ClusterError, NotLeadingError, WriteConflictError

NAME = "edge-operator"
DURATION = 30
"""Seconds for which a Lease holds after a renewal."""
RENEW = 5.0
RETRY = 2.0
WRITE = 15.0
"""Seconds that a write can take at most; see the time-outs of `edge_operator.cluster`."""

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseStore(Protocol):
    """The API server as leadership uses it."""

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def create(self, body: Object) -> Object: ...
    def replace(self, body: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease, and since when (seconds, monotonic) it has been seen unchanged. holder: empty if released."""

    holder: str
    duration: float
    version: str
    since: float


def seen(body: Object, before: Seen | None, now: float) -> Seen:
    """Returns what a Lease says. before: as it was seen last. Pure."""
    spec = body.get("spec") or {}
    version = body["metadata"]["resourceVersion"]
    since = before.since if before is not None and before.version == version else now
    return Seen(
        spec.get("holderIdentity") or "", float(spec.get("leaseDurationSeconds") or DURATION), version, since
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
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (current is not None)
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": DURATION, "renewTime": now}
    metadata = current["metadata"] if current is not None else {"name": NAME, "namespace": namespace}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def end_process() -> None:
    """Ends the process as the kubelet does: a replica that lost the leadership starts again from nothing."""
    os.kill(os.getpid(), signal.SIGTERM)


class Leadership:
    """One replica's part in the election. Its methods block, except `run`."""

    def __init__(
        self,
        leases: LeaseStore,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._leases, self._namespace, self._identity = leases, namespace, identity
        self._clock, self._wall = clock, wall
        self._seen: Seen | None = None
        self._held_until = float("-inf")
        self._resigned = False

    @property
    def leads(self) -> bool:
        """Whether this replica holds the Lease now."""
        return self._clock() < self._held_until

    def check(self) -> None:
        """Raises NotLeadingError unless the Lease outlasts a write that begins now."""
        if self._clock() + WRITE >= self._held_until:
            raise NotLeadingError(
                f"Lease {self._namespace}/{NAME} is not held by {self._identity} for another {WRITE:g} s: "
                "nothing is written until it is"
            )

    def campaign(self) -> bool:
        """Takes or renews the Lease if possible; returns whether this replica leads. Raises ClusterError."""
        # From before the requests: the Lease is renewed while they are on their way.
        now = self._clock()
        body = self._leases.fetch(LEASES, self._namespace, NAME)
        if body is not None:
            self._seen = seen(body, self._seen, now)
            if not may_take(self._seen, self._identity, now):
                self._held_until = float("-inf")
                return False
        wanted = claimed(body, self._namespace, self._identity, self._wall())
        try:
            written = self._leases.create(wanted) if body is None else self._leases.replace(wanted)
        except WriteConflictError:
            return self.leads  # another replica was faster
        self._seen = replace(seen(written, None, now), since=now)
        # A renewal can be on its way while this replica resigns.
        self._held_until = float("-inf") if self._resigned else now + DURATION
        return not self._resigned

    def resign(self) -> bool:
        """Lets no further write begin; returns whether this replica led."""
        led, self._resigned = self.leads, True
        self._held_until = float("-inf")
        return led

    def release(self) -> None:
        """Gives the Lease up, so that another replica takes it at once. Raises ClusterError."""
        self.resign()
        body = self._leases.fetch(LEASES, self._namespace, NAME)
        if body is not None and body["spec"].get("holderIdentity") == self._identity:
            self._leases.replace(body | {"spec": body["spec"] | {"holderIdentity": ""}})

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
                logging.getLogger(__name__).info("%s leads: it holds the Lease", self._identity)
                leading = True
                gained()
            if leading and not now_leads:
                logging.getLogger(__name__).error("%s has lost the Lease: stopping", self._identity)
                lost()
                return
            await asyncio.sleep(RENEW if leading else RETRY)
