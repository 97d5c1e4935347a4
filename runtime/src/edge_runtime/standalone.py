"""A model from an ONNX file without a cluster: no placement, no link."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from secrets import token_bytes

from edge_planning.declared_exits import EXITS_KEY, BadExitError, parse_exits
from edge_planning.routing.batches import LARGEST
from edge_planning.routing.deadlines import usable
from edge_runtime.errors import (
    BadTensor,
    CannotLoad,
    EdgeError,
    ModelFailed,
    NotTried,
)
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.output_subsets import Admit, OutputSubsets
from edge_runtime.inference.runners import STUCK_AFTER, Runner
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.memoization.backends import MemoizingBackend
from edge_runtime.memoization.settings import OFF, MemoizationSettings
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse, confidence, has_classes, rowwise
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.samples.making import make
from edge_runtime.sequences.backends import SequencedBackend
from edge_runtime.sequences.flags import WantedState, settings_for
from edge_runtime.sequences.settings import StateSettings
from edge_runtime.serving import Backend, Service
from edge_runtime.shutdown import unless_stopped
from edge_runtime.tensors import Contract, Tensor
from edge_runtime.trials.admission import SECONDS, Subject, Trials
from edge_runtime.trials.findings import proven

_log = logging.getLogger(__name__)


class StandaloneModel:
    """A session as a backend: all outputs by name, among them the exits that the file declares."""

    platform = "onnxruntime_onnx"
    message = ""
    accuracy = 1.0
    target = None

    def __init__(
        self,
        session: Session,
        metrics: Metrics,
        clock: Callable[[], float] = time.perf_counter,
        *,
        max_batch: int = LARGEST,
        memoization: MemoizationSettings = OFF,
        subsets: OutputSubsets | None = None,
        batched: Collection[str] = (),
        stuck_after: float = STUCK_AFTER,
        runner: Runner | None = None,
    ) -> None:
        """batched: outputs whose rows are known to be those of the batch; only these have a confidence.

        runner: the one that several models share; by default the model has its own.
        """
        self.memoization, self._subsets = (
            replace(memoization, unrepeatable=session.proven.unrepeatable),
            subsets,
        )
        self._session, self._metrics, self._clock = session, metrics, clock
        self._names = [t.name for t in session.outputs]
        self._shares = runner is not None
        self.runner = runner or Runner(largest=max_batch, clock=clock, stuck_after=stuck_after)
        self.statistics = metrics.statistics
        self._queue = ServiceQueue(self.runner, metrics.batch, ran=self.statistics.ran)
        metrics.joins([session.proven])
        if not self._shares:
            metrics.process.running(lambda: self.runner.running)
        self.exits = read_exits(session)
        self._classes = _outputs_with_classes(self.exits, session.contract, batched)

    @property
    def contract(self) -> Contract:
        """Contract of the model in the file."""
        return self._session.contract

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Returns the named outputs. Raises BadTensor, ModelFailed and Overloaded."""
        start = self._clock() if request.since is None else request.since
        inputs, within = request.inputs, request.within
        outputs = request.outputs or self._names
        exit_ = _exit_of(self.exits, outputs) if self.exits else ""
        self._queue.admit(self._session.seconds)
        try:
            due = None if within is None else start + usable(within)
            session, feeds = self._session, inputs
            if self._subsets is not None and (part := self._subsets.session(outputs)) is not session:
                session, feeds = part, {t.name: inputs[t.name] for t in part.inputs}
            results = await self._queue.run(session, feeds, outputs, due, priority=request.priority)
        except (EdgeError, asyncio.CancelledError) as error:
            if not isinstance(error, EdgeError) and (within is None or self._clock() - start < within):
                raise  # the client disconnected: no information about the model
            self._metrics.request(exit_, "local", "failed", self._clock() - start, met=False)
            raise
        finally:
            self._queue.leave()
        parameters = self._counted(exit_, start, within)
        output = self._classes.get(exit_)
        if output is not None and output in outputs:
            result = results[outputs.index(output)]
            sure = confidence(result, items=rowwise(result, inputs.values()))
            if sure is not None:
                parameters["confidence"] = sure
        return InferenceResponse(results, parameters)

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        """Returns the response if it takes one short run; None without a trace if `infer` is needed.

        Raises as `infer` does.
        """
        if request.within is not None or self.exits or self._subsets is not None:
            return None
        start = self._clock() if request.since is None else request.since
        self._queue.admit(self._session.seconds)
        try:
            results = self._queue.run_now(self._session, request.inputs, request.outputs or None)
        except EdgeError:
            self._metrics.request("", "local", "failed", self._clock() - start, met=False)
            raise
        finally:
            self._queue.leave()
        return None if results is None else InferenceResponse(results, self._counted("", start, None))

    def _counted(self, exit_: str, start: float, within: float | None) -> dict[str, str | bool | float]:
        """Counts a completed request and returns the parameters of its response."""
        seconds = self._clock() - start
        met = within is None or seconds <= within
        self._metrics.request(exit_, "local", "ok", seconds, met=met)
        parameters: dict[str, str | bool | float] = {"route": "local", "cut": "local", "deadline_met": met}
        if exit_:
            parameters["exit"] = exit_
        return parameters

    def repeated(
        self, response: InferenceResponse, outcome: str, seconds: float, within: float | None
    ) -> None:
        """Counts a request whose response was reused from an earlier one."""
        exit_ = str(response.parameters.get("exit", ""))
        self._metrics.request(exit_, "local", outcome, seconds, met=within is None or seconds <= within)

    @property
    def stuck(self) -> str:
        """Why requests wait too long; empty if they do not."""
        return self.runner.stuck

    def end(self) -> None:
        """Ends the current runs; waiting clients get an error."""
        self.runner.end()

    def close(self) -> None:
        """Lets go of what the model has for itself; its own runner rejects further work."""
        if not self._shares:
            self.runner.close()
        if self._subsets is not None:
            self._subsets.close()


def _exit_of(exits: Mapping[str, Sequence[str]], outputs: Sequence[str]) -> str:
    """The exit to which requested outputs belong: the first that has all, else the last that has any."""
    whole = (name for name, own in exits.items() if set(own) >= set(outputs))
    part = (name for name, own in reversed(list(exits.items())) if set(own) & set(outputs))
    return next(whole, None) or next(part, "")


def _outputs_with_classes(
    exits: Mapping[str, Sequence[str]], contract: Contract, batched: Collection[str]
) -> dict[str, str]:
    """The output of each exit that has its confidence; none of an exit with several such outputs."""
    known = {n: replace(t, batched=n in batched) for n, t in contract.outputs_by_name.items()}
    found = {name: [each for each in own if has_classes(known[each])] for name, own in exits.items()}
    return {name: own[0] for name, own in found.items() if len(own) == 1}


def read_exits(session: Session) -> dict[str, tuple[str, ...]]:
    """Outputs by exit name, first to last, from the file's metadata; empty without any."""
    found = session.metadata.get(EXITS_KEY)
    if found is None:
        return {}
    try:
        exits = parse_exits(found)
    except BadExitError as error:
        _log.warning("the exits in the metadata %s are ignored: %s", EXITS_KEY, error)
        return {}
    known = session.contract.outputs_by_name
    return {e.name: e.outputs for e in exits if all(name in known for name in e.outputs)}


def batched_outputs(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Outputs whose rows are those of the inputs, as far as shape inference shows it.

    The file's names of dimensions do not show it: exporters name the number of detected boxes like the batch.
    """
    wanted, found = set(names), set()
    if not wanted:
        return frozenset()
    from edge_runtime.slicing import Graph  # the import of onnx is slow

    try:
        graph = Graph(path.read_bytes())
        found = {name for name in wanted if graph.tensor(name).batched}
    except (EdgeError, OSError) as error:
        _log.info("responses have no confidence: %s", error)
    return frozenset(found)


def check_file(path: Path) -> None:
    """Raises CannotLoad if the path is not a readable file."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise CannotLoad(f"{path} {what}: name an .onnx file")
    if not os.access(path, os.R_OK):
        raise CannotLoad(f"{path} is not readable by user {os.geteuid()}: change its permissions")


def load_model(path: Path, threads: int, known: ProvenProperties | None = None) -> Session:
    """Loads the model in a file. Raises CannotLoad. `known` are properties proven by its trial."""
    check_file(path)
    try:
        session = Session(path, threads=threads, proven=known)
    except CannotLoad as error:
        raise CannotLoad(f"{path}: {error}") from error
    for name, kind in session.left_out.items():
        _log.warning("output %s has type %s, which cannot be sent: it is omitted", name, kind)
    return session


def open_model(
    path: Path,
    threads: int,
    given: Given = NOTHING,
    halt: Halt | None = None,
    known: ProvenProperties | None = None,
) -> Session:
    """Loads the model in a file and warms it up on the given inputs, or on zeros.

    `halt` ends the warm-up, `known` are properties proven by its trial. Raises CannotLoad, and BadRequest for
    given inputs that do not match the model.
    """
    session = load_model(path, threads, known)
    samples = make(session.inputs, session.dimensions, given)
    try:
        for feeds in samples.feeds:
            session.warm(feeds, halt)
    except (BadTensor, ModelFailed) as error:  # zeros need not be a valid input
        _log.warning(
            "%s is served without a warm-up, so its first requests take longer: %s: %s",
            path,
            error,
            samples.advice(),
        )
    except CannotLoad as error:  # shapes in a file need not be right
        _log.info("%s", error)
    if session.proven.alone:
        _log.info("requests are not batched: %s", session.proven.alone)
    return session


def admit_file(path: Path, trials: Trials, given: Given = NOTHING) -> ProvenProperties | None:
    """Tries the model in a file in a separate process and returns the proven properties.

    Raises CannotLoad or a subclass if the model must not be loaded here.
    """
    check_file(path)
    with trials:
        verdict = trials.admit(Subject(str(path), path, path.stat().st_size, must_fit=False, given=given))
    return proven(verdict.findings)


def subset_admission(path: Path, trials: Trials) -> Admit:
    """Returns the function that tries a subset of a file's outputs."""

    def admit(data: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        with trials:
            trials.admit(Subject(f"a subset of {path}", data, len(data), "", tuple(inputs), tuple(outputs)))

    return admit


@dataclass(frozen=True, slots=True)
class Loading:
    """How files are loaded: threads of an inference, the given inputs for a warm-up, the trials' limit.

    stop: when it is set, loading ends. runner: the one that several models share; None: each has its own.
    state: what is kept between the requests of a sequence.
    """

    stop: asyncio.Event
    threads: int
    memoization: MemoizationSettings = OFF
    max_batch: int = LARGEST
    given: Given = NOTHING
    stuck_after: float = STUCK_AFTER
    trial_seconds: float = SECONDS
    runner: Runner | None = None
    state: WantedState | None = None


class LoadedFile:
    """A model that was loaded from a file, and the service that transports see.

    contract: inputs and outputs for clients. state: what is kept between the requests of a sequence.
    """

    def __init__(
        self, name: str, model: StandaloneModel, metrics: Metrics, state: StateSettings | None = None
    ) -> None:
        self.model, self.metrics = model, metrics
        backend: Backend = MemoizingBackend(model, metrics.registry, name, token_bytes(16))
        if state is not None:
            backend = SequencedBackend(backend, lambda: state)
        self.contract = backend.contract or model.contract
        self.service = Service(name, backend, stuck=lambda: model.stuck)


async def load_standalone(path: Path, name: str, how: Loading, metrics: Metrics) -> LoadedFile | None:
    """Tries, loads and warms up the model in a file; None if `stop` was set before that was done.

    Raises CannotLoad, and BadRequest for given inputs that do not match.
    """
    trials = Trials(None, Memory(cgroup_limit()), how.threads, how.trial_seconds)
    stopping = asyncio.create_task(how.stop.wait())
    stopping.add_done_callback(lambda _: trials.break_off(for_good=True))
    try:
        known = await asyncio.to_thread(admit_file, path, trials, how.given)
    except CannotLoad as error:
        if isinstance(error, NotTried) and how.stop.is_set():
            return None
        stopping.cancel()
        raise
    halt = Halt()
    opening = asyncio.to_thread(open_model, path, how.threads, how.given, halt, known)
    whole = await unless_stopped(how.stop, opening)
    if whole is None:
        halt.now()
        return None
    exits = read_exits(whole)
    subsets = OutputSubsets(path, whole, how.threads, subset_admission(path, trials)) if exits else None
    model = StandaloneModel(
        whole,
        metrics,
        max_batch=how.max_batch,
        memoization=how.memoization,
        subsets=subsets,
        batched=await asyncio.to_thread(batched_outputs, path, chain(*exits.values())),
        stuck_after=how.stuck_after,
        runner=how.runner,
    )
    state = None
    if how.state is not None:
        state = settings_for(how.state, model.contract, how.given.shapes, str(path))
    return LoadedFile(name, model, metrics, state)
