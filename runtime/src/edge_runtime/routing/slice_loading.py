"""Loads slices: fetched from disk or store, tried in another process, then loaded into this one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from edge_runtime.assignment import Slice
from edge_runtime.errors import BadTensor, DigestMismatch, EdgeError, ModelFailed, NotFound
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.loading_core import LOADING_CORE, LoadingCore
from edge_runtime.inference.mapped_weights import LARGE
from edge_runtime.inference.memory import FROM_DISK, UNLIMITED, Memory
from edge_runtime.inference.native import creating_threads
from edge_runtime.inference.providers import CPU
from edge_runtime.inference.sessions import Session, provider
from edge_runtime.model_store import Blob, SliceCache
from edge_runtime.routing.warm_inputs import WarmInputs
from edge_runtime.tensors import Array, Tensor
from edge_runtime.trials.admission import Subject, Trials
from edge_runtime.trials.findings import proven

_log = logging.getLogger(__name__)

Failures = dict[str, EdgeError]
_LONG: Final = 16 << 20  # bytes from which loading a slice takes several of the kernel's ticks
Feeds = Mapping[str, Array] | None
"""Inputs of a warm-up; None for zeros."""
_Key = tuple[str, tuple[Tensor, ...], tuple[Tensor, ...], bool]


class SliceLoader:
    """Loads slices one by one on a thread, and tries those that are new here on another.

    Without `trials` all slices are trusted, such as those that a benchmark created.
    """

    def __init__(
        self,
        cache: SliceCache,
        trials: Trials | None,
        threads: int = 1,
        memory: Memory = UNLIMITED,
        core: LoadingCore = LOADING_CORE,
    ) -> None:
        self._cache, self._trials, self._threads, self._memory = cache, trials, threads, memory
        self._loading_core = core
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._trying = ThreadPoolExecutor(1, thread_name_prefix="trying")
        self._sharing = 0
        self._loaded: WeakValueDictionary[_Key, Session] = WeakValueDictionary()
        self._took: WeakKeyDictionary[Session, float] = WeakKeyDictionary()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._on_trial: frozenset[str] = frozenset()

    async def admit(self, slices: Iterable[Slice], *, fetch: bool = True) -> Failures:
        """Errors of the slices that must not be loaded, by digest. Tries those that are new, one by one.

        fetch: whether to request missing slices from the model store.
        """
        if self._trials is None:
            return {}
        run = asyncio.get_running_loop().run_in_executor
        # Not on the trial thread: known slices must not wait for trials of new ones.
        failures, untried = await run(self._loading, _known, self._trials, tuple(slices))
        subjects: list[Subject] = []
        for slice_ in untried:
            try:
                subjects.append(await self._at_hand(slice_, fetch=fetch))
            except EdgeError as error:
                failures[slice_.digest] = error
        if not subjects:
            return failures
        failures |= await run(self._trying, self._judge, self._trials, tuple(subjects))
        damaged = [s for s in untried if isinstance(failures.get(s.digest), DigestMismatch)]
        for slice_ in damaged if fetch else ():
            try:
                data = await self._cache.fetch(slice_.digest)
            except EdgeError as error:
                failures[slice_.digest] = error
                continue
            del failures[slice_.digest]
            failures |= await run(
                self._trying, self._judge, self._trials, (_subject(slice_, data, len(data)),)
            )
        return failures

    async def warm_inputs(
        self, digest: str, inputs: Sequence[Tensor], *, fetch: bool = True
    ) -> WarmInputs | None:
        """One sample of a model's inputs, from the disk or the store; None with a warning if there is none.

        digest: of the file in the store.
        """
        try:
            data = await asyncio.to_thread(self._from_disk, digest)
            if data is None and fetch:
                data = bytes(await self._cache.fetch(digest))
            return None if data is None else await asyncio.to_thread(WarmInputs.read, data, inputs)
        except EdgeError as error:
            _log.warning("the samples of the model are not used for the warm-up: %s", error)
            return None

    def _from_disk(self, digest: str) -> bytes | None:
        data = self._cache.read(digest)
        if data is None:
            return None
        with data:
            return data[:]

    async def session(
        self,
        slice_: Slice,
        sessions: MutableMapping[str, Session],
        *,
        fetch: bool = True,
        packed: bool | None = None,
        samples: WarmInputs | None = None,
    ) -> Session:
        """Returns the warm session of a slice, from `sessions` if it is there, and adds it.

        A slice that several tables use at the same time is loaded once, whatever their services, unless only
        some of them pack its weights. packed: whether to pack them, as far as the memory allows that; None
        leaves it to the memory. samples: on which it is warmed up; zeros without. Raises EdgeError for a
        slice that must not be loaded, is not available, or cannot be loaded.
        """
        if not self._suits(slice_, sessions.get(slice_.digest), packed=packed):
            turn = self._turns.setdefault(slice_.digest, asyncio.Lock())
            async with turn:
                feeds = None if samples is None else samples.of(slice_.inputs)
                sessions[slice_.digest] = await self._session(slice_, feeds, fetch=fetch, packed=packed)
        return sessions[slice_.digest]

    def took(self, session: Session) -> float:
        """Seconds that it took to load a session and warm it up, without a transfer from the model store."""
        return self._took.get(session, 0.0)

    def _suits(self, slice_: Slice, session: Session | None, *, packed: bool | None) -> bool:
        """Whether a session packs the weights as wanted, or loading it again would not change that."""
        if session is None or packed in (None, session.packed):
            return session is not None
        size = self._cache.size(slice_.digest)
        return size is None or size < LARGE or (bool(packed) and not self._memory.packs(size))

    async def _session(self, slice_: Slice, feeds: Feeds, *, fetch: bool, packed: bool | None) -> Session:
        key = (slice_.digest, slice_.inputs, slice_.outputs)
        for choice in (True, False):
            known = self._loaded.get((*key, choice))
            if known is not None and self._suits(slice_, known, packed=packed):
                return known
        failure = (await self.admit([slice_], fetch=fetch)).get(slice_.digest)
        if failure is not None:
            raise failure
        run = asyncio.get_running_loop().run_in_executor
        known = await run(self._loading, partial(self._load_from_disk, slice_, feeds, wanted=packed))
        if known is None and not fetch:
            raise NotFound(f"slice {slice_.digest} is missing on this node's disk or damaged")
        if known is None:
            known = await self._fetched(slice_, feeds, packed=packed)
        self._loaded[(*key, known.packed)] = known
        return known

    async def _fetched(self, slice_: Slice, feeds: Feeds, *, packed: bool | None) -> Session:
        run = asyncio.get_running_loop().run_in_executor
        data = await self._cache.fetch(slice_.digest)
        if len(data) >= LARGE and self._cache.size(slice_.digest) is not None:
            del data  # half the memory is enough to load it from the disk
            known = await run(self._loading, partial(self._load_from_disk, slice_, feeds, wanted=packed))
            if known is not None:
                return known
            data = await self._cache.fetch(slice_.digest)
        return await run(self._loading, self._load, slice_, data, feeds)

    @contextlib.contextmanager
    def one_process(self) -> Iterator[None]:
        """Shares one process between the trials in this context: its start takes longer than most trials."""
        self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            if not self._sharing and self._trials is not None:
                with contextlib.suppress(RuntimeError):  # closed: the process has ended
                    self._trying.submit(self._trials.rest)

    def break_off(self, digests: Collection[str]) -> None:
        """Ends the current trials if they are of these slices, which are no longer needed."""
        if self._trials is not None and self._on_trial.issubset(digests):
            self._trials.break_off()

    async def keep_only(self, digests: Collection[str]) -> None:
        """Removes slices from the disk that only older placements needed."""
        if self._trials is not None:
            await asyncio.to_thread(self._trials.keep_only, digests)
        await asyncio.to_thread(self._cache.keep_only, digests)

    def close(self) -> None:
        """Ends the current trials, and does not wait for the current load."""
        if self._trials is not None:
            self._trials.break_off(for_good=True)
            with contextlib.suppress(RuntimeError):  # already closed
                self._trying.submit(
                    self._trials.rest
                )  # after the waiting trials, which are refused immediately
        self._trying.shutdown(wait=False)
        self._loading.shutdown(wait=False)

    async def _at_hand(self, slice_: Slice, *, fetch: bool) -> Subject:
        digest = slice_.digest
        size = self._cache.size(digest)
        if size is None and not fetch:
            raise NotFound(f"slice {digest} is missing on this node's disk")
        if size is None:
            data = await self._cache.fetch(digest)
            size = len(data)
            if self._cache.size(digest) is None:  # the disk did not take it
                return _subject(slice_, data, size)
        return _subject(slice_, self._cache.path(digest), size)

    def _load_from_disk(self, slice_: Slice, feeds: Feeds, *, wanted: bool | None) -> Session | None:
        """Blocking, but mostly without the interpreter's lock. None if it is missing or damaged."""
        begin = time.perf_counter()
        found = self._from_disk_as(slice_, feeds, wanted=wanted)
        if found is not None:
            self._took[found] = time.perf_counter() - begin
        return found

    def _from_disk_as(self, slice_: Slice, feeds: Feeds, *, wanted: bool | None) -> Session | None:
        digest, size = slice_.digest, self._cache.size(slice_.digest)
        if size is None or size < LARGE:
            data = self._cache.read(digest)
            if data is None:
                return None
            with data:
                return self._load(slice_, data, feeds)
        packed = self._memory.check(f"slice {digest}", size, on_disk=True) and wanted is not False
        if wanted is False:
            _log.info("slice %s: its weights are not packed, as planned", digest)
        elif not packed:
            _log.warning(
                "slice %s: its weights are not packed, because less than %d times its %d bytes are free: "
                "inferences take longer; raise the memory limit or run less at this node",
                digest,
                FROM_DISK,
                size,
            )
        with self._core(size):
            if not self._cache.whole(digest):
                return None
            return self._opened(slice_, self._cache.path(digest), feeds, packed=packed)

    def _load(self, slice_: Slice, data: Blob, feeds: Feeds) -> Session:
        begin = time.perf_counter()
        found = self._checked(slice_, data, feeds)
        self._took[found] = time.perf_counter() - begin
        return found

    def _checked(self, slice_: Slice, data: Blob, feeds: Feeds) -> Session:
        self._memory.check(f"slice {slice_.digest}", len(data))
        with self._core(len(data)):
            return self._opened(slice_, data, feeds)

    def _core(self, size: int) -> contextlib.AbstractContextManager[None]:
        """A core for loading a slice of this many bytes, if that takes long.

        Not if sessions have threads of their own, which would be confined to it.
        """
        if size < _LONG or self._threads > 1 or provider() is not CPU:
            return contextlib.nullcontext()
        return self._loading_core.taken(*creating_threads())

    def _opened(self, slice_: Slice, source: Blob | Path, feeds: Feeds, *, packed: bool = True) -> Session:
        known = self._proven(slice_)
        session = Session(
            source, slice_.inputs, slice_.outputs, self._threads, known, mapped=True, packed=packed
        )
        try:
            session.warm(feeds, several=known is None)  # its trial has run several items
        except (BadTensor, ModelFailed) as error:  # zeros need not be a valid input
            _log.warning("slice %s is served without a warm-up: %s", slice_.digest, error)
        if session.proven.alone:
            _log.info("slice %s: requests are not batched: %s", slice_.digest, session.proven.alone)
        return session

    def _judge(self, trials: Trials, subjects: Sequence[Subject]) -> Failures:
        """Tries slices one by one in one process, which ends afterwards, or waits for more within
        `one_process`.
        """
        failures: Failures = {}
        trials.begin()
        self._on_trial = frozenset(subject.digest for subject in subjects)
        try:
            for subject in subjects:
                try:
                    trials.check_room(subject)
                    verdict = trials.admit(subject)
                    _log.info("%s passed its trial: %s", subject.what, dict(verdict.findings))
                except EdgeError as error:
                    failures[subject.digest] = error
        finally:
            self._on_trial = frozenset()
            if not self._sharing:
                trials.rest()
        return failures

    def _proven(self, slice_: Slice) -> ProvenProperties | None:
        """Properties of its graph found by its trial; None leaves the analysis to the session."""
        if self._trials is None:
            return None
        verdict = self._trials.known(slice_.digest, slice_.inputs, slice_.outputs)
        return None if verdict is None else proven(verdict.findings)


def _known(trials: Trials, slices: Sequence[Slice]) -> tuple[Failures, list[Slice]]:
    failures: Failures = {}
    untried: dict[str, Slice] = {}
    for slice_ in slices:
        verdict = trials.known(slice_.digest, slice_.inputs, slice_.outputs)
        if verdict is None:
            untried[slice_.digest] = slice_
        elif (error := verdict.error(f"slice {slice_.digest}")) is not None:
            failures[slice_.digest] = error
    return failures, list(untried.values())


def _subject(slice_: Slice, source: Blob | Path, size: int) -> Subject:
    return Subject(f"slice {slice_.digest}", source, size, slice_.digest, slice_.inputs, slice_.outputs)
