"""The result of a trial, its meaning for a slice, and when it is repeated. Pure."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from edge_runtime.errors import CannotLoad, EdgeError, NotTried, TrialCrashed, TrialHung, TrialOverran
from edge_runtime.json_values import Json
from edge_runtime.tensors import Tensor

FORMAT: Final = 1
"""Version of verdicts and trials: after a change every slice is tried again."""
_AGAIN, _AGAIN_AT_MOST = 600.0, 86_400.0
_BROKEN_OFF_AGAIN, _BROKEN_OFF_AT_MOST = 10.0, 3600.0
_MORE_ROOM: Final = 1.1
# Messages of onnxruntime, malloc, the kernel and this program about a lack of memory.
_OUT_OF_MEMORY: Final = (
    "bad_alloc",
    "Failed to allocate memory",
    "Cannot allocate memory",
    "MemoryError",
    "not enough memory",
    "failed to map segment",
)
_FROM_OUTSIDE: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Outcome(StrEnum):
    """How a trial ended."""

    PASSED = "Passed"
    REFUSED = "Refused"
    CRASHED = "Crashed"
    HUNG = "Hung"
    OVERRAN = "Overran"
    BROKEN_OFF = "BrokenOff"
    """Without a result: another process ended it, or the node went down during the trial."""


_ERRORS: Final[Mapping[Outcome, type[EdgeError]]] = {
    Outcome.REFUSED: CannotLoad,
    Outcome.CRASHED: TrialCrashed,
    Outcome.HUNG: TrialHung,
    Outcome.OVERRAN: TrialOverran,
    Outcome.BROKEN_OFF: NotTried,
}


@dataclass(frozen=True, slots=True)
class Engine:
    """The versions for which a verdict is valid. `examiners` are the names of the findings."""

    version: str
    provider: str
    threads: int
    examiners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one trial: seconds, and bytes of memory."""

    seconds: float
    room: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a slice.

    said: why it must not be loaded, as a message. at: time of the trial, in seconds since the epoch.
    attempts: consecutive trials without passing. bound: the seconds or bytes that were not enough. findings:
    results of the examiners by name.
    """

    outcome: Outcome
    said: str = ""
    at: float = 0.0
    attempts: int = 1
    bound: float = 0.0
    findings: Mapping[str, Json] = field(default_factory=dict)

    def error(self, what: str) -> EdgeError | None:
        """The error if `what` must not be loaded; None if it can be."""
        kind = _ERRORS.get(self.outcome)
        return None if kind is None else kind(f"{what}: {self.said}")

    def stale(self, now: float, bounds: Bounds) -> bool:
        """Whether to try again: never after a result that another run cannot change."""
        waited = now - self.at
        match self.outcome:
            case Outcome.HUNG:
                more, pause = bounds.seconds > self.bound, _pause(self.attempts, _AGAIN, _AGAIN_AT_MOST)
            case Outcome.OVERRAN:
                more = bounds.room > self.bound * _MORE_ROOM
                pause = _pause(self.attempts, _AGAIN, _AGAIN_AT_MOST)
            case Outcome.BROKEN_OFF:
                more, pause = False, _pause(self.attempts, _BROKEN_OFF_AGAIN, _BROKEN_OFF_AT_MOST)
            case _:
                return False
        # If the clock was set back, the elapsed time is unknown.
        return more or waited >= pause or waited < 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format": FORMAT,
            "outcome": self.outcome.value,
            "said": self.said,
            "at": self.at,
            "attempts": self.attempts,
            "bound": self.bound,
            "findings": dict(self.findings),
        }


@dataclass(frozen=True, slots=True)
class End:
    """How a trial process ended, or was ended, before it responded.

    status: exit status, negative for a signal. cut: why this side ended it, if it did. stage: what it was
    doing.
    words: the end of its standard error.
    """

    status: int
    stage: str = ""
    words: str = ""
    cut: str = ""


TIME, MEMORY, STOP = "time", "memory", "stop"


def judged(end: End, engine: Engine, bounds: Bounds) -> Verdict:
    """The verdict on a slice whose trial ended like this."""
    stage = end.stage or "starting"
    if end.cut == TIME or end.status == -signal.SIGALRM:
        return hung(stage, bounds)
    if end.cut == MEMORY or any(text in end.words for text in _OUT_OF_MEMORY):
        return overran(stage, bounds)
    if end.cut == STOP or -end.status in _FROM_OUTSIDE:
        how = "it was no longer needed" if end.cut == STOP else f"{_signal(end.status)} ended it from outside"
        return Verdict(
            Outcome.BROKEN_OFF,
            f"its trial was interrupted while {stage}: {how}: it will be retried; "
            f"if this repeats, check the node for a lack of memory",
        )
    how = f"with {_signal(end.status)}" if end.status < 0 else f"and ended the process with {end.status}"
    words = f" ({end.words})" if end.words else ""
    return Verdict(
        Outcome.CRASHED,
        f"onnxruntime {engine.version} crashed {how} while {stage}, in a separate process{words}: "
        f"change the model, cut it elsewhere, or use another version of onnxruntime",
    )


def hung(stage: str, bounds: Bounds) -> Verdict:
    """The verdict on a slice whose trial exceeded its time limit."""
    return Verdict(
        Outcome.HUNG,
        f"its trial did not finish within {bounds.seconds:g} s while {stage}: change the model if it never "
        f"returns, or raise --trial-seconds if the node is slow",
        bound=bounds.seconds,
    )


def overran(stage: str, bounds: Bounds) -> Verdict:
    """The verdict on a slice whose trial exceeded the memory limit."""
    return Verdict(
        Outcome.OVERRAN,
        f"its trial needed more than the {bounds.room / (1 << 20):.0f} MiB of memory that are free while "
        f"{stage}: raise the memory limit or run less at this node",
        bound=bounds.room,
    )


def out_of_memory(text: str) -> bool:
    """Whether an error's message means a lack of memory."""
    return any(said in text for said in _OUT_OF_MEMORY)


def read_verdict(document: Json) -> Verdict | None:
    """Reads a verdict from its JSON; ignores unknown fields. None if it is not one."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return None
    said, findings = document.get("said", ""), document.get("findings", {})
    numbers = [
        document.get(name, default) for name, default in (("at", 0.0), ("attempts", 1), ("bound", 0.0))
    ]
    if not isinstance(said, str) or not isinstance(findings, dict):
        return None
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not abs(n) < 1e300 for n in numbers):
        return None
    try:
        outcome = Outcome(str(document.get("outcome")))
    except ValueError:
        return None
    at, attempts, bound = numbers
    return Verdict(outcome, said, float(at), max(int(attempts), 1), float(bound), findings)


def key_of(digest: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], engine: Engine) -> str:
    """Key of a verdict, which contains everything that can change it."""
    contract = [[tensor.document() for tensor in tensors] for tensors in (inputs, outputs)]
    parts = [FORMAT, digest, contract, engine.version, engine.provider, engine.threads, *engine.examiners]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _pause(attempts: int, first: float, most: float) -> float:
    return float(min(first * 2.0 ** min(attempts - 1, 30), most))


def _signal(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
