"""The child's side of `child_process`: limited, first in line for the OOM killer, one request at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from edge_runtime.inference.memory import resident
from edge_runtime.trials.child_process import PATIENCE

Document = dict[str, Any]
ReportStage = Callable[[str], None]

_PR_SET_PDEATHSIG: Final = 1
_LATER: Final = 5  # seconds after the parent's limit at which this side's clock ends the process
_STACK: Final = 8 << 20
_SPARE_STACKS: Final = 4


def serve(answer: Callable[[Mapping[str, Any], bytes, ReportStage], Document], parent: int) -> None:
    """Serves requests until the parent closes the input or ends.

    `answer` receives the request, the bytes after it, and a function that reports the stage to the parent.
    """
    _go_first(parent)
    requests = sys.stdin.buffer
    # Native code may print; the parent expects responses only.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _say(answers, {"ready": os.getpid()})
    while line := requests.readline():
        request = orjson.loads(line)
        payload = requests.read(request["size"])
        _bound(request["seconds"], request["room"], request.get("threads", 1))
        found = answer(request, payload, lambda stage: _say(answers, {"stage": stage}))
        del payload
        signal.alarm(0)
        _say(answers, found)


def _go_first(parent: int) -> None:
    """Makes the kernel end this process first if memory runs out, and together with its parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before that took effect
        sys.exit()


def _bound(seconds: float, room: float | None, threads: int) -> None:
    """Limits time by the kernel's alarm clock, which needs no interpreter, and memory by RLIMIT_DATA."""
    signal.alarm(ceil(PATIENCE * seconds) + _LATER)
    if room is None:
        return
    try:
        status = Path("/proc/self/status").read_text()
        data = int(status.split("VmData:")[1].split()[0]) << 10
    except (OSError, IndexError, ValueError):
        return
    most = data + max(int(room) - resident(), 0) + (threads + _SPARE_STACKS) * _STACK
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _say(answers: BinaryIO | Any, document: Document) -> None:  # noqa: ANN401 - a raw file
    answers.write(orjson.dumps(document) + b"\n")
