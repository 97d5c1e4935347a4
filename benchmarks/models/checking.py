"""Everything that is done with one file, in a process of its own: a crash is a result of this file alone."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.models import servers
from benchmarks.models.calls import Caller
from benchmarks.models.catalogue import ModelFile
from benchmarks.models.cuts import wrong_cuts
from benchmarks.models.inputs import requests, save_samples
from benchmarks.models.planning import MODES, SAMPLES, Operator, pool
from benchmarks.models.servers import Server
from benchmarks.models.truth import Truth, difference
from edge_planning import Infeasible

STEPS: Final = ("served", "profiled", "sliced", "planned", "placed")
_LIMIT: Final = 420.0
_SWITCH: Final = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """The processes that every file uses, and a folder."""

    store: Server
    entry: Server
    cloud: Server
    folder: Path


@dataclass(slots=True)
class Checked:
    """What was found with one file.

    Attributes:
        wrong: By step, why it failed; a step without an entry succeeded.
        cuts: The number that was tried.
        routes: Those that responded, by name.
        local: Seconds of the whole model on this machine, as measured.
    """

    name: str
    wrong: dict[str, str] = field(default_factory=dict)
    unequal: list[str] = field(default_factory=list)
    cuts: int = 0
    routes: list[str] = field(default_factory=list)
    local: float = 0.0
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether every response was onnxruntime's, and there was one from each place that serves."""
        return not self.unequal and not self.wrong.keys() & {"served", "placed"}


def check(model: ModelFile, site: Site, steps: Sequence[str] = STEPS) -> Checked:
    """Runs the steps with a file in a child process."""
    started = time.monotonic()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(model, site, steps, sender))
    child.start()
    sender.close()
    found = Checked(model.name)
    if receiver.poll(_LIMIT):
        try:
            found = receiver.recv()
        except EOFError:
            child.join()
            found.wrong = dict.fromkeys(steps, f"the process ended with {child.exitcode}")
    else:
        child.kill()
        found.wrong = dict.fromkeys(steps, f"not done after {_LIMIT:.0f} s")
    child.join()
    found.seconds = time.monotonic() - started
    return found


def _child(model: ModelFile, site: Site, steps: Sequence[str], sender: Connection) -> None:
    sender.send(run_steps(model, site, steps))
    sender.close()


def run_steps(model: ModelFile, site: Site, steps: Sequence[str] = STEPS) -> Checked:
    """Runs the steps with a file in this process."""
    found = Checked(model.name)
    with np.errstate(all="ignore"):
        _Check(model, site, found).run(steps)
    return found


class _Check:
    def __init__(self, model: ModelFile, site: Site, found: Checked) -> None:
        self.model, self.site, self.found = model, site, found
        self.folder = site.folder / model.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.truth = Truth(model.path)
        self.feeds = requests(model.inputs, self.truth.dtypes)
        self.answers = [self.truth.run(feed) for feed in self.feeds]

    def run(self, steps: Sequence[str]) -> None:
        """Runs the steps in their order; one that needs a failed one is not tried."""
        operator = Operator(self.site.store.url, pool(self.site.cloud.url.removeprefix("http://")))
        works: Mapping[str, tuple[Callable[[], None], tuple[str, ...]]] = {
            "served": (self._serve_alone, ()),
            "profiled": (lambda: self._measure(operator), ()),
            "sliced": (lambda: self._cut(operator), ("profiled",)),
            "planned": (lambda: self._plan(operator), ("profiled",)),
            "placed": (lambda: self._place(operator), ("profiled", "planned")),
        }
        try:
            for name, (work, needed) in works.items():
                if name in steps:
                    self._step(name, work, needed)
        finally:
            operator.close()

    def _step(self, name: str, work: Callable[[], None], needed: Sequence[str]) -> None:
        if failed := [step for step in needed if step in self.found.wrong]:
            self.found.wrong[name] = f"not tried: not {failed[0]}"
            return
        try:
            work()
        except Exception as error:
            self.found.wrong[name] = f"{type(error).__name__}: {error}"[:400]

    def _serve_alone(self) -> None:
        with servers.alone(self.model.path, self.folder, self.model.name) as server:
            for http in (True, False):
                self._ask(server, self.model.name, http=http)

    def _measure(self, operator: Operator) -> None:
        samples = self.folder / SAMPLES
        save_samples(samples, self.feeds[0])
        self.known = operator.measure(operator.register(self.model, samples))
        self.found.local = self.known.costs["camera"].exits[-1].mean_seconds

    def _cut(self, operator: Operator) -> None:
        self.found.cuts, wrong = wrong_cuts(operator.store, self.known.card, self.feeds, self.answers)
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {self.found.cuts} cuts: {wrong[0]}")

    def _plan(self, operator: Operator) -> None:
        tables = {mode: operator.plan(self.model, self.known, mode) for mode in MODES}
        self.tables = {mode: table for mode, table in tables.items() if not isinstance(table, Infeasible)}
        if "LocalOnly" not in self.tables or "CloudOnly" not in self.tables:
            raise RuntimeError(
                str({mode: table for mode, table in tables.items() if mode not in self.tables})
            )

    def _place(self, operator: Operator) -> None:
        placements = [
            operator.place(self.model, self.known, mode, table) for mode, table in self.tables.items()
        ]
        servers.publish(self.site.folder / "cloud.json", list(operator.tails(placements)))
        servers.publish(self.site.folder / "entry.json", [one.body() for one in placements])
        for one in placements:
            self._wait(one.spec.service)
            self._on_route(one.spec.service, one.spec.routes[0].name)

    def _wait(self, service: str) -> None:
        deadline = time.monotonic() + _SWITCH
        while not servers.responds(f"{self.site.entry.url}/v2/models/{service}/ready"):
            self.site.entry.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{service}: not ready: {self.site.entry.tail()}")
            time.sleep(0.1)

    def _on_route(self, service: str, route: str) -> None:
        """Waits until the service responds by the first route of its table, then sends every request."""
        deadline, used, last = time.monotonic() + _SWITCH, "", ""
        caller = Caller(self.site.entry, http=False)
        try:
            while used != route:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{service}: {used or last} responds, not {route}")
                try:
                    _, parameters = caller.infer(service, self.feeds[0], self.truth.outputs)
                    used = str(parameters.get("route"))
                except Exception as error:
                    last = f"{type(error).__name__}: {error}"[:300]
                if used != route:
                    time.sleep(0.2)
        finally:
            caller.close()
        self._ask(self.site.entry, service, http=True, outputs=self._final)
        self.found.routes.append(route)

    @property
    def _final(self) -> Sequence[str]:
        return self.known.card.exits[-1].outputs

    def _ask(self, server: Server, service: str, *, http: bool, outputs: Sequence[str] | None = None) -> None:
        caller, names = Caller(server, http=http), outputs or self.truth.outputs
        try:
            for number, (feed, truth) in enumerate(zip(self.feeds, self.answers, strict=True)):
                found, _ = caller.infer(service, feed, names)
                if said := difference({name: truth[name] for name in names}, found):
                    self.found.unequal.append(f"{service}, request {number}: {said}")
        finally:
            caller.close()
