"""One service at this node: receives its Placements, keeps the last on disk, reports its status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final, Protocol

from edge_api.told_links import ToldLink
from edge_planning.routing.idle import idle_in
from edge_runtime.assignment import Placement, Spec, parse_placement
from edge_runtime.autonomy import LastContact, refusal
from edge_runtime.dataplane import Dataplane
from edge_runtime.errors import BadPlacement, CannotLoad, NotFound, NotTried, Unreachable
from edge_runtime.first_requests.turns import Measures
from edge_runtime.json_values import Json, metadata_of, status_of
from edge_runtime.last_placements import LastPlacements
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore
from edge_runtime.revisions import Candidate, RevisionedBackend
from edge_runtime.routing.background_loading import BackgroundLoader
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.early_exits import EarlyExitLoader
from edge_runtime.routing.fallbacks.local_tails import LocalTails
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.idle_tables import can_be_let_go
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.repeatability import Repeatability
from edge_runtime.sequences.backends import SequencedBackend
from edge_runtime.service_folders import ServiceFolder
from edge_runtime.serving import Service
from edge_runtime.status import Report, status_document
from edge_runtime.status_reports import StatusReports
from edge_runtime.told_links import told_links

_log = logging.getLogger(__name__)

_STATUS_EVERY: Final = 5.0
_STATUS_LEAST: Final = 0.25
_RETRY: Final = 5.0
_AWAITED: Final = 30.0
"""Seconds for which a table is retried before this process counts as ready, if a former one had loaded it."""
_PASSING: Final = frozenset({CannotLoad.__name__, NotTried.__name__})
"""Reasons that can pass: the operator has slices that the model store lacks cut again within seconds."""
_LONGEST_PAUSE: Final = 10.0
_LAST_WITHIN: Final = 0.5
_IDLE_LOOK: Final = 5.0
_CONTACT: Final = 60.0
"""Seconds without contact to the API server after which this node measures its links by itself."""


class Statuses(Protocol):
    """Where the status of a Placement is written."""

    async def write_status(self, name: str, status: dict[str, Any]) -> Json:
        """Writes the status and returns the current Placement. Raises Unreachable and NotFound."""


class PlacedService:
    """A service and its route tables.

    settled: whether its first table was loaded or refused. A table that the process before this one had
        loaded is retried for a time first, so that the pod of that process serves until then.
    from_disk: set once its last placements were tried.
    folder: where it keeps what it needs for a start without the cluster; no other service uses it.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        store: ModelStore,
        resources: NodeResources,
        word: LastContact,
        metrics: Metrics | None = None,
        *,
        peer_scheme: str = "",
        revision: Callable[[str], Candidate | None] | None = None,
    ) -> None:
        """peer_scheme: HTTPS if the process serves TLS on ports for other nodes.

        revision: finds another service of the process, which can be a candidate of this one.
        """
        self.name, self.word = name, word
        self.metrics = metrics or Metrics(name, resources.metrics)
        self._folder, self._resources = ServiceFolder(folder), resources
        self._disk_cache = DiskCache(folder / "model-store.json", self._folder.write)
        background = BackgroundLoader(
            LocalTails(self._disk_cache, store), EarlyExitLoader(self._disk_cache, store)
        )
        self.generations = Generations(
            self.metrics,
            resources,
            background=background,
            repeatability=Repeatability(self._disk_cache, store),
        )
        self.dataplane = Dataplane(self.generations, self.metrics, resources.clock)
        self.reports = StatusReports(self.dataplane.window, time.monotonic, peer_scheme=peer_scheme)
        memoization = MemoizingBackend(self.dataplane, self.metrics.registry, name, token_bytes(16))
        self._runner = resources.runner
        self.backend = SequencedBackend(memoization, lambda: self.generations.state)
        self.revisions = RevisionedBackend(
            self.backend,
            lambda: self._spec.candidate if self._spec is not None else None,
            revision or (lambda _: None),
            idle=lambda: not resources.runner.busy,
            counted=self.metrics.compared,
        )
        self.service = Service(
            name, self.revisions, lambda: self.generations.intermediates, lambda: self._runner.stuck
        )
        self._last = LastPlacements(folder, self._folder.write)
        resources.hold_slices(self, self._digests, lambda: self.generations.digests)
        self._told: Mapping[str, ToldLink] = {}
        self._wanted: Json = None
        self._kept: Json = None
        self._seen = (-1, "")
        self._tried: Json = None  # the last one that was loaded or refused
        self._arrived = asyncio.Event()
        self._loading, self._succeeds, self._first_tried = False, False, math.inf
        self.settled, self.from_disk = False, asyncio.Event()

    def receive(self, document: Json, change: int | None = None) -> None:
        """Receives a Placement from the API server or the file; ignores it if its spec is unchanged.

        change: number of the file's version, because its editor need not increase metadata.generation.
        """
        self.word.heard()
        metadata = metadata_of(document)
        self._told = told_links(metadata)
        self.keep_to_autonomy()
        self.reports.found(document)
        if self._wanted is None:
            self._succeeds = status_of(document).get("loaded") is True
        seen = (metadata.get("generation", 0), metadata.get("uid", "")) if change is None else (change, "")
        if seen != self._seen:
            self._seen, self._wanted = seen, document
            self._arrived.set()
            if self._loading:
                self.generations.break_off()

    def renamed(self, document: Json) -> bool:
        """Whether the current Placement has another name than this one."""
        return self._wanted is not None and metadata_of(self._wanted).get("name") != metadata_of(
            document
        ).get("name")

    async def load_last(self) -> None:
        """Starts from the disk alone, without the API server and the model store.

        Loads the last placement as far as its slices are cached, or the one before it if not even a local
        route of the last one is.
        """
        for document in await asyncio.to_thread(self._last.documents):
            try:
                placement = parse_placement(document)
            except BadPlacement as error:
                _log.warning("a placement on disk is damaged: %s", error)
                continue
            first, self._kept, self._tried = self._kept is None, self._kept or document, document
            # Also if a newer one has arrived: whether that can be loaded is not known yet.
            if await self._use(placement, at_hand=True):
                _log.info("%s: serving the last placement, generation %d", self.name, placement.generation)
                self.settled = True
                if not first:
                    self.generations.loaded = False  # the newest one is still to be loaded
                return

    async def load_arriving(self) -> None:
        """Loads each placement that arrives, and retries while the newest one cannot be loaded."""
        while True:
            complete = self.generations.loaded or (self._wanted or self._kept) is None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if complete else _RETRY):
                    await self._arrived.wait()
            self._arrived.clear()
            self._loading = True
            await self._load(self._wanted or self._kept)
            self._loading, self.settled = False, self.settled or not self._is_awaited()

    def _is_awaited(self) -> bool:
        """Whether a table that a former process had loaded is likely to be loaded here soon."""
        now = self._resources.clock()
        self._first_tried = min(self._first_tried, now)
        passing = not self.generations.loaded and self.generations.reason in _PASSING
        return self._succeeds and passing and now < self._first_tried + _AWAITED

    async def _load(self, document: Json) -> None:
        try:
            placement = parse_placement(document)
        except BadPlacement as error:
            self._tried = document
            generation = metadata_of(document).get("generation")
            generation = generation if isinstance(generation, int) else 0
            self.generations.refuse(generation, str(error), error.reason)
            return
        loaded = await self._use(placement)
        self._tried = document
        if loaded:
            await self._keep(document)

    async def _use(self, placement: Placement, *, at_hand: bool = False) -> bool:
        loaded = await self.generations.use(placement, at_hand=at_hand)
        if loaded:
            self.dataplane.first_requests.use(placement.spec)
            self.dataplane.activity.touch()
        return loaded

    async def watch_requests(self) -> None:
        """Lets go of sessions that no request needs for `spec.idle.after`. Runs until cancelled."""
        while True:
            pause = self.look_for_requests()
            await asyncio.sleep(pause)

    def look_for_requests(self) -> float:
        """Lets go of the sessions if that is due. Returns the seconds until the next look."""
        resources, settings = self._resources, self._spec.idle if self._spec is not None else None
        if self.generations.idle is not None and not self.generations.loaded:
            self._arrived.set()  # the last request could not be answered: what it needs is fetched again
        if settings is None:
            resources.idle.drop(self)
            return _IDLE_LOOK
        if self.idle_since is not None:
            resources.idle.keep(self, settings.memory)
            return min(float(settings.after), _IDLE_LOOK)
        resources.idle.drop(self)
        activity = self.dataplane.activity
        left = settings.after if activity.count else idle_in(settings.after, activity.last, resources.clock())
        return min(left or _IDLE_LOOK, _IDLE_LOOK)

    @property
    def idle_since(self) -> float | None:
        """The second of the last request if sessions are loaded that could be let go since; None if not."""
        spec, placement, activity = self._spec, self.generations.placement, self.dataplane.activity
        if spec is None or spec.idle is None or placement is None or not can_be_let_go(placement):
            return None
        if self.generations.table is None or not self.generations.loaded or self._loading or activity.count:
            return None
        left = idle_in(spec.idle.after, activity.last, self._resources.clock())
        return None if left > 0 else activity.last

    @property
    def held_bytes(self) -> int:
        """Bytes of the loaded sessions."""
        table = self.generations.table
        return table.bytes if table is not None else 0

    def let_go(self) -> None:
        """Lets go of the loaded sessions; the next request loads them again."""
        self.generations.let_go()

    async def measure(self, measurer: Measures) -> None:
        """Measures the model on its first requests at its turn. Runs until cancelled."""
        await self.dataplane.first_requests.run(measurer)

    async def _keep(self, document: Json) -> None:
        """Keeps the placement and its slices on disk, and removes slices that nothing needs any more."""
        try:
            await asyncio.to_thread(self._last.keep, document)
        except OSError as error:
            _log.warning("the placement is not kept on disk: %s", error)
        await self._resources.clean_disk()

    async def _digests(self) -> set[str]:
        """The slices that this service needs on the disk."""
        found = self.generations.digests | await self._disk_cache.digests()
        return found | await asyncio.to_thread(self._last.digests)

    def keep_to_autonomy(self) -> None:
        """Refuses requests if the last contact to the API server is older than the service allows.

        Without contact, it also ends the use of what the operator told of links.
        """
        self.generations.tell(self._told if self.word.age < _CONTACT else {})
        spec = self._spec
        why = refusal(spec.autonomy, self.word.age) if spec is not None else ""
        if bool(why) != bool(self.service.refusal):
            _log.warning("%s: %s", self.name, why or "the API server responds again: requests are served")
        self.service.refusal = why

    def report(self) -> Report:
        """The current state for the status."""
        residuals = self.dataplane.residuals.report(self.generations.resources.clock())
        self.metrics.residuals(residuals)
        generations, loaded = self.generations, self.dataplane.active
        active = loaded.route if loaded is not None else generations.idle and generations.idle.active
        # Generations of another object with the same name, which was replaced, say nothing about this one.
        uid = metadata_of(self._wanted).get("uid")
        same = None in (self._tried, self._wanted) or metadata_of(self._tried).get("uid") == uid
        return Report(
            generation=generations.generation if same else 0,
            loaded=generations.loaded and same,
            message=(generations.message if same else "") or self._runner.stuck,
            reason=generations.reason if same else "",
            route=active.name if active else "",
            exit=active.exit if active else "",
            cut=active.cut if active else "",
            link=generations.link.report() if generations.link is not None else None,
            local_links=generations.local_links.report(),
            summary=self.dataplane.window.summary(self.generations.resources.clock()),
            now=datetime.now(UTC),
            residuals=residuals,
            shapes=self.dataplane.shapes.report(self.generations.resources.clock()),
            unpacked=generations.table.unpacked if generations.table is not None else (),
            first_requests=self.dataplane.first_requests.report(),
            idle=generations.idle is not None,
            load_time=generations.load_time,
            comparisons=replace(self.revisions.comparisons),
        )

    async def write_status(self, statuses: Statuses) -> None:
        """Writes the status when it is due. Runs until cancelled."""
        wait, failures = _STATUS_EVERY, 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, _STATUS_EVERY)):
                    await self.generations.changed.wait()
            self.generations.changed.clear()
            wait = _STATUS_EVERY
            if self._wanted is None:
                continue
            spec = self._spec
            report = self.reports.complete(self.report(), spec)
            due = self.reports.due_in(report, spec)
            if due is None or due > 0:
                wait = due or _STATUS_EVERY
                continue
            name = metadata_of(self._wanted).get("name", "")
            self.reports.writing(report)
            try:
                # The response carries the spec, so a change that an interrupted watch missed is seen here.
                found = await statuses.write_status(name, status_document(report))
            except (Unreachable, NotFound) as error:
                _log.warning("the status is not written: %s", error)
                failures = min(failures + 1, 10)
                await asyncio.sleep(min(_STATUS_LEAST * 2**failures, _LONGEST_PAUSE))
                wait = _STATUS_LEAST
                continue
            failures = 0
            self.reports.wrote(report, spec)
            self.receive(found)
            await asyncio.sleep(_STATUS_LEAST)

    async def write_last_counters(self, statuses: Statuses) -> None:
        """Writes what was counted since the last report, before the process ends. Ignores failures."""
        report = self.reports.complete(self.report(), self._spec)
        if self._wanted is None or self.reports.due_in(report, self._spec) is None:
            return
        name = metadata_of(self._wanted).get("name", "")
        with contextlib.suppress(Unreachable, NotFound, TimeoutError):
            async with asyncio.timeout(_LAST_WITHIN):
                await statuses.write_status(name, status_document(report))

    def count_rejection(self) -> None:
        """Counts a request that the model rejected although the revision beside it answered."""
        window, clock = self.dataplane.window, self._resources.clock
        window.add(clock(), None, met=False, failed=True)
        if (table := self.generations.table) is not None:
            route = table.routes[-1].route
            self.metrics.request(route.exit, route.name, "failed", 0.0, met=False)

    @property
    def digest(self) -> str:
        """Digest of the model that is loaded; empty while requests are refused."""
        spec = self._spec
        return spec.model.digest if spec is not None and not self.service.refusal else ""

    @property
    def _spec(self) -> Spec | None:
        placement = self.generations.placement
        return placement.spec if placement is not None else None

    def close(self) -> None:
        """Releases what only this service needs; its requests in flight are still answered."""
        self._resources.idle.drop(self)
        self.revisions.close()
        self.generations.close()

    async def forget(self) -> None:
        """Removes its files, and the slices that no other service needs: it is no longer placed here."""
        await asyncio.to_thread(self._folder.remove)
        self._resources.release_slices(self)
        await self._resources.clean_disk()
