"""Composes the runtime: dataplane, transports, placement and status, from start-up to a graceful shutdown."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

import uvloop

from edge_runtime.assignment import parse_placement
from edge_runtime.autonomy import LastContact, refusal
from edge_runtime.cluster import Placements
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.errors import BadPlacement, EdgeError, NotFound, Unreachable
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive, keepalive_of
from edge_runtime.inference import cpus
from edge_runtime.inference.batches import LARGEST
from edge_runtime.inference.gc_tuning import tune_for_serving
from edge_runtime.inference.memory import UNLIMITED, Memory, cgroup_limit
from edge_runtime.inference.runners import STUCK_AFTER
from edge_runtime.json_values import Json
from edge_runtime.last_placements import LastPlacements
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.routing.background_loading import BackgroundLoader
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.early_exits import EarlyExitLoader
from edge_runtime.routing.fallbacks.local_tails import LocalTails
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.repeatability import Repeatability
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.serving import Service
from edge_runtime.shutdown import GOODBYE, leave_threads_behind, stop_on_signals, unless_stopped
from edge_runtime.status import Report, status_document
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tracing.startup import start
from edge_runtime.transports import Transports
from edge_runtime.trials.admission import SECONDS, Trials
from edge_runtime.trials.records import Records

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans

_log = logging.getLogger(__name__)

_STATUS_EVERY: Final = 5.0
_STATUS_LEAST: Final = 0.25
_FILE_EVERY: Final = 0.5
_RETRY: Final = 5.0
DRAIN: Final = 1.0
_AUTONOMY_EVERY: Final = 1.0


class Runtime:
    """One service at this node: receives placements, keeps the last on disk, reports status."""

    def __init__(
        self,
        service: str,
        store: ModelStore,
        cache_dir: Path,
        *,
        resolver: Resolver,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
        threads: int = 1,
        max_batch: int = LARGEST,
        metrics: Metrics | None = None,
        memory: Memory = UNLIMITED,
        stuck_after: float = STUCK_AFTER,
        trial_seconds: float = SECONDS,
    ) -> None:
        self.metrics = metrics or Metrics(service)
        trials = Trials(
            Records(cache_dir / "trials"),
            memory,
            threads,
            trial_seconds,
            busy=lambda: self.generations.runner.busy,
        )
        self._loader = SliceLoader(SliceCache(cache_dir / "slices", store), trials, threads, memory)
        self._disk_cache = DiskCache(cache_dir / "model-store.json")
        background = BackgroundLoader(
            LocalTails(self._disk_cache, store), EarlyExitLoader(self._disk_cache, store)
        )
        self.generations = Generations(
            self._loader,
            self.metrics,
            resolver,
            background=background,
            repeatability=Repeatability(self._disk_cache, store),
            tls=tls,
            max_batch=max_batch,
            stuck_after=stuck_after,
        )
        self.dataplane = Dataplane(self.generations, self.metrics)
        memoization = MemoizingBackend(self.dataplane, self.metrics.registry, service, token_bytes(16))
        runner = self.generations.runner
        self.service = Service(
            service, memoization, lambda: self.generations.intermediates, lambda: runner.stuck
        )
        self._last, self.word = LastPlacements(cache_dir), LastContact(cache_dir / "last-word", clock)
        self._wanted: Json = None
        self._kept: Json = None
        self._seen = (-1, "")
        self._arrived = asyncio.Event()
        self._loading = False

    def receive(self, document: Json, change: int | None = None) -> None:
        """Receives a Placement from the API server or the file; ignores it if its spec is unchanged.

        change: number of the file's version, because its editor need not increase metadata.generation.
        """
        self.word.heard()
        self.keep_to_autonomy()
        metadata = _metadata(document)
        seen = (metadata.get("generation", 0), metadata.get("uid", "")) if change is None else (change, "")
        if seen != self._seen:
            self._seen, self._wanted = seen, document
            self._arrived.set()
            if self._loading:
                self.generations.break_off()

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
            first, self._kept = self._kept is None, self._kept or document
            # Also if a newer one has arrived: whether that can be loaded is not known yet.
            if await self.generations.use(placement, at_hand=True):
                _log.info("serving the last placement, generation %d", placement.generation)
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
            self._loading = False

    async def _load(self, document: Json) -> None:
        try:
            placement = parse_placement(document)
        except BadPlacement as error:
            generation = _metadata(document).get("generation")
            generation = generation if isinstance(generation, int) else 0
            self.generations.refuse(generation, str(error), error.reason)
            return
        if await self.generations.use(placement):
            await self._keep(document)

    async def _keep(self, document: Json) -> None:
        """Keeps the placement and its slices on disk, and removes slices that only older ones needed."""
        try:
            await asyncio.to_thread(self._last.keep, document)
        except OSError as error:
            _log.warning("the placement is not kept on disk: %s", error)
        table = self.generations.table
        needed = await self._disk_cache.digests() | (table.sessions.keys() if table else set())
        needed |= await asyncio.to_thread(self._last.digests)
        await self._loader.keep_only(needed)

    def keep_to_autonomy(self) -> None:
        """Refuses requests if the last contact to the API server is older than the service allows."""
        table = self.generations.table
        why = refusal(table.placement.spec.autonomy, self.word.age) if table is not None else ""
        if bool(why) != bool(self.service.refusal):
            _log.warning("%s", why or "the API server responds again: requests are served")
        self.service.refusal = why

    def report(self) -> Report:
        """The current state for the status."""
        generations, active = self.generations, self.dataplane.active
        return Report(
            generation=generations.generation,
            loaded=generations.loaded,
            message=generations.message or generations.runner.stuck,
            reason=generations.reason,
            route=active.route.name if active else "",
            exit=active.route.exit if active else "",
            cut=active.route.cut if active else "",
            link=generations.link.report() if generations.link is not None else None,
            summary=self.dataplane.window.summary(time.perf_counter()),
            now=datetime.now(UTC),
            residuals=self.dataplane.residuals.report(time.perf_counter()),
        )

    async def write_status(self, placements: Placements) -> None:
        """Writes the status on every change and every few seconds. Runs until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STATUS_EVERY):
                    await self.generations.changed.wait()
            self.generations.changed.clear()
            if self._wanted is None:
                continue
            try:
                # The response carries the spec, so a change that an interrupted watch missed is seen here.
                self.receive(await placements.write_status(status_document(self.report())))
            except (Unreachable, NotFound) as error:
                _log.warning("the status is not written: %s", error)
            await asyncio.sleep(_STATUS_LEAST)


async def watch_autonomy(runtime: Runtime) -> None:
    """Checks the autonomy once a second. Runs until cancelled."""
    while True:
        runtime.keep_to_autonomy()
        await asyncio.to_thread(runtime.word.keep)
        await asyncio.sleep(_AUTONOMY_EVERY)


async def read_placement_file(path: Path, runtime: Runtime) -> None:
    """Reads the placement from a file, and again after each change. Runs until cancelled."""
    import yaml

    seen: tuple[int, int] | None = None
    generation = 0
    said = ""
    while True:
        try:
            stat = await asyncio.to_thread(path.stat)
            if (stat.st_mtime_ns, stat.st_size) != seen:
                seen = (stat.st_mtime_ns, stat.st_size)
                document = yaml.safe_load(await asyncio.to_thread(path.read_text, "utf-8"))
                generation += 1
                _metadata(document).setdefault("generation", generation)
                runtime.receive(document, generation)
            said = ""
        # yaml raises ValueError for an impossible date and RecursionError for deep nesting.
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            if str(error) != said:  # once, not twice a second
                said = str(error)
                _log.warning("%s: %s", path, error)
        await asyncio.sleep(_FILE_EVERY)


def _metadata(document: Json) -> dict[str, Any]:
    """Metadata of an object; empty if it is not a mapping or has none."""
    found = document.get("metadata") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


async def run(
    arguments: argparse.Namespace,
    stop: asyncio.Event,
    drain: float = DRAIN,
    certificates: Certificates | None = None,
    spans: Spans | None = None,
    keepalive: KeepAlive = DEFAULT,
) -> None:
    """Serves until `stop` is set, reports not ready for `drain` seconds, then finishes requests in flight."""
    resolver = Resolver()
    tls = certificates.client if certificates is not None else None
    store = ModelStore(arguments.store, resolver, tls, arguments.store_token_file)
    runtime = Runtime(
        arguments.service,
        store,
        arguments.cache_dir,
        resolver=resolver,
        tls=tls,
        threads=arguments.threads or cpus.threads(cpus.quota() or 1.0),
        max_batch=arguments.max_batch,
        metrics=spans.metrics() if spans is not None else None,
        memory=Memory(arguments.memory_limit or cgroup_limit()),
        stuck_after=arguments.stuck_after,
        trial_seconds=arguments.trial_seconds,
    )
    if certificates is not None:
        runtime.metrics.certificate(lambda: certificates.current.expires)
    transports = Transports(
        runtime.service,
        runtime.metrics.exposition,
        host=arguments.host,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        uds=arguments.uds,
        certificates=certificates,
        health_port=arguments.health_port,
        spans=spans,
        end=runtime.generations.runner.end,
        grace=arguments.grace,
        keepalive=keepalive,
    )
    tasks: list[asyncio.Task[None]] = []
    placements = None
    if arguments.placement_file is not None:
        tasks.append(asyncio.create_task(read_placement_file(arguments.placement_file, runtime)))
    else:
        name = f"{arguments.service}-{arguments.node}"
        placements = Placements.in_cluster(arguments.namespace, name, resolver)
        tasks.append(asyncio.create_task(placements.watch(runtime.receive)))
        tasks.append(asyncio.create_task(runtime.write_status(placements)))
    serving = asyncio.create_task(transports.serve())
    await unless_stopped(stop, runtime.load_last())
    tune_for_serving()
    if placements is not None:  # a file cannot lose contact
        tasks.append(asyncio.create_task(watch_autonomy(runtime)))
    tasks.append(asyncio.create_task(runtime.load_arriving()))
    stopping = asyncio.create_task(stop.wait())
    parts: set[asyncio.Task[Any]] = {serving, stopping, *tasks}
    await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done() and task.exception() is not None:
            _log.error("a task of the runtime ended unexpectedly", exc_info=task.exception())
    runtime.service.draining = True
    if stop.is_set():
        await asyncio.sleep(drain)  # clients see it by /v2/health/ready before the ports close
    await asyncio.gather(transports.stop(), serving, return_exceptions=True)
    for task in parts - {serving}:
        task.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    await runtime.generations.close()
    store.close()
    if placements is not None:
        placements.close()
    if not stop.is_set():
        raise EdgeError("the runtime ended unexpectedly: see the log above")


def serve(arguments: argparse.Namespace, certificates: Certificates | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""

    async def main() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop, DRAIN + arguments.grace + GOODBYE)
        spans = start(arguments.service, os.environ)
        try:
            keepalive = keepalive_of(arguments)
            await run(arguments, stop, certificates=certificates, spans=spans, keepalive=keepalive)
        finally:
            if spans is not None:
                spans.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    leave_threads_behind()
    return 0
