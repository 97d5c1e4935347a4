"""The parent's side of a child process, which isolates crashes, hangs and excessive memory.

Both sides write one JSON object a line; a request can be followed by bytes. `child_server` is the other side.
Blocking: the child ends with the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from mmap import mmap
from pathlib import Path
from typing import Any, Final

import orjson

from edge_runtime.errors import NotTried
from edge_runtime.inference.loading_core import LOADING_CORE
from edge_runtime.inference.memory import resident
from edge_runtime.trials.pauses import LONGEST, RUNNING, Pause, after
from edge_runtime.trials.verdicts import MEMORY, STOP, TIME, Bounds, End

Document = dict[str, Any]

PATIENCE: Final = 10.0
"""Factor on a child's time limit if it waits for a processor most of the time."""
STARTING: Final = 120.0
"""Seconds until a child must be ready; on a node with a tenth of a core its imports alone take several."""
_LOOK: Final = 0.02  # seconds between two checks of the child's memory
_WORDS: Final = 2000
_LINE: Final = 16 << 20
_GRACE: Final = 2.0
_NICE: Final = 5


class Ended(Exception):  # noqa: N818 - it is what happened to the child, no error of this side
    """The child ended before it responded."""

    def __init__(self, end: End) -> None:
        super().__init__(repr(end))
        self.end = end


class Child:
    """A Python process that runs `module`; `asked` counts its responses.

    stop: polled several times a second; the child is ended once it returns True. busy: polled as often; the
    child is paused while it returns True, for up to `longest_pause` seconds each time. idle: whether it runs
    in the idle scheduling class.
    """

    def __init__(
        self,
        module: str,
        stop: Callable[[], bool] = lambda: False,
        busy: Callable[[], bool] = lambda: False,
        *,
        idle: bool = True,
        longest_pause: float = LONGEST,
    ) -> None:
        """Raises NotTried if the process cannot be started or does not become ready."""
        self._stop, self._stage, self._words, self._lines = stop, "", b"", b""
        self._busy, self._pause, self._longest_pause = busy, RUNNING, longest_pause
        self.asked = 0
        try:
            self._process = subprocess.Popen(
                # Without the working directory on its path, whose files must not be imported.
                [sys.executable, "-P", "-m", module, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,  # Ctrl-C in a terminal is handled by this process only
            )
        except OSError as error:
            raise NotTried(f"the trial process cannot be started: {error}") from error
        LOADING_CORE.release(self.pid)
        # Before its imports, which are most of its work: requests take precedence if processors are few.
        with contextlib.suppress(OSError):
            if idle:
                os.sched_setscheduler(self._process.pid, os.SCHED_IDLE, os.sched_param(0))
            else:
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)
        for pipe in self._pipes():
            os.set_blocking(pipe, False)
        try:
            self._converse(b"", Bounds(STARTING, float("inf")))
        except Ended as ended:
            self.end()
            if ended.end.cut == STOP:
                raise NotTried("not tried, because it is no longer needed") from None
            raise NotTried(
                f"the trial process did not become ready: {ended.end.words or ended.end}"
            ) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Mapping[str, Any], bounds: Bounds, payload: bytes | mmap = b"") -> Document:
        """Returns the response. Raises Ended without one; after any error the child has ended."""
        head = {**request, "size": len(payload), "seconds": bounds.seconds, "room": bounds.room}
        if head["room"] == float("inf"):
            head["room"] = None
        line = orjson.dumps(head) + b"\n"
        self._stage, self._words = "", b""
        try:
            answer = self._converse(line, bounds, payload)
        except BaseException:
            self.end()
            raise
        self.asked += 1
        return answer

    def end(self) -> None:
        """Ends the child immediately."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _converse(self, line: bytes, bounds: Bounds, payload: bytes | mmap = b"") -> Document:
        """Writes and reads concurrently, so that neither side blocks the other; checks time and memory."""
        stdin, stdout, stderr = self._pipes()
        began, waited, before = time.monotonic(), self._waited(), self._pause.seconds
        statm = Path(f"/proc/{self.pid}/statm")
        with selectors.DefaultSelector() as waiting, memoryview(payload) as view:
            waiting.register(stdout, selectors.EVENT_READ)
            waiting.register(stderr, selectors.EVENT_READ)
            left = [memoryview(line), view]
            waiting.register(stdin, selectors.EVENT_WRITE)
            try:
                while True:
                    for key, _ in waiting.select(_LOOK):
                        if key.fd == stdin:
                            left = self._write(left)
                            if not left:
                                waiting.unregister(stdin)
                        elif key.fd == stderr:
                            if not self._hear(stderr):
                                waiting.unregister(stderr)
                        elif (answer := self._read(stdout)) is not None:
                            return answer
                    if self._stop():
                        raise self._cut(STOP)
                    now = time.monotonic()
                    self._set(after(self._pause, busy=self._busy(), now=now, longest=self._longest_pause))
                    took, paused = now - began, self._pause.total(now) - before
                    if took > bounds.seconds and (
                        took > PATIENCE * bounds.seconds
                        or took - paused - self._waited() + waited > bounds.seconds
                    ):
                        raise self._cut(TIME)
                    with contextlib.suppress(OSError, ValueError, IndexError):
                        if resident(statm) > bounds.room:
                            raise self._cut(MEMORY)
            finally:
                self._set(after(self._pause, busy=False, now=time.monotonic()))
                for part in left:
                    part.release()

    def _set(self, pause: Pause) -> None:
        """Pauses or resumes the child as the state says."""
        if pause.paused != self._pause.paused:
            self._process.send_signal(signal.SIGSTOP if pause.paused else signal.SIGCONT)
        self._pause = pause

    def _waited(self) -> float:
        """Seconds that its main thread was ready to run without a processor, if the kernel reports it."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        return 0.0

    def _write(self, left: list[memoryview]) -> list[memoryview]:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # its end is detected by reading
            while left:
                written = os.write(self._pipes()[0], left[0]) if left[0] else 0
                left = [part for part in (left[0][written:], *left[1:]) if part]
            return []
        return left

    def _hear(self, pipe: int) -> bool:
        """Whether more output is possible."""
        with contextlib.suppress(BlockingIOError):
            heard = os.read(pipe, 1 << 16)
            self._words = (self._words + heard)[-_WORDS:]
            return bool(heard)
        return True

    def _read(self, pipe: int) -> Document | None:
        """A response, if one is complete; records the stages before it."""
        try:
            found = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return None
        if not found or len(self._lines) > _LINE:
            raise self._cut("")
        *whole, self._lines = (self._lines + found).split(b"\n")
        for line in whole:
            told = orjson.loads(line)
            if "stage" not in told:
                return dict(told)
            self._stage = str(told["stage"])
        return None

    def _cut(self, why: str) -> Ended:
        """How the child ended; with `why` this side ends it."""
        if why:
            self._process.kill()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:  # it closed its output but still runs
            self._process.kill()
            self._process.wait()
        while self._hear_rest():
            pass
        said = [text.strip() for text in self._words.decode(errors="replace").splitlines() if text.strip()]
        return Ended(End(self._process.returncode, self._stage, said[-1][:300] if said else "", why))

    def _hear_rest(self) -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            heard = os.read(self._pipes()[2], 1 << 16)
            self._words = (self._words + heard)[-_WORDS:]
            return bool(heard)
        return False

    def _pipes(self) -> tuple[int, int, int]:
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        first, second, third = (pipe.fileno() for pipe in pipes if pipe is not None)
        return first, second, third
