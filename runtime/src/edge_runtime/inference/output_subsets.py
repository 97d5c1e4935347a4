"""Sessions for the subsets of outputs that clients request, because onnxruntime always runs the whole graph.

A subset is prepared on a thread when it is first requested; until it is ready the whole model is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from edge_runtime.errors import EdgeError
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.tensors import Tensor

Admit = Callable[[bytes, Sequence[Tensor], Sequence[Tensor]], None]

_log = logging.getLogger(__name__)

_MOST: Final = 8  # each holds another copy of its weights


class OutputSubsets:
    """Sessions of one file by the outputs that they compute."""

    def __init__(
        self, path: Path, whole: Session, threads: int, admit: Admit, maker: Executor | None = None
    ) -> None:
        """admit: raises EdgeError for a subset that must not run in this process. maker: prepares subsets."""
        self._path, self._whole, self._threads, self._admit = path, whole, threads, admit
        self._known: dict[frozenset[str], Session] = {frozenset(t.name for t in whole.outputs): whole}
        self._maker = maker or ThreadPoolExecutor(1, thread_name_prefix="output-subsets")
        self._halt = Halt()

    def session(self, outputs: Sequence[str]) -> Session:
        """A session that computes these outputs, and nothing else once the subset is ready."""
        wanted = frozenset(outputs)
        known = self._known.get(wanted)
        if known is None:
            known = self._whole
            if len(self._known) <= _MOST:
                self._known[wanted] = known
                self._maker.submit(self._make, wanted)
        return known

    def close(self) -> None:
        """Stops preparing subsets."""
        self._halt.now()
        self._maker.shutdown(wait=False, cancel_futures=True)

    def _make(self, wanted: frozenset[str]) -> None:
        from edge_runtime.slicing import Graph  # the import of onnx is slow

        outputs = [t.name for t in self._whole.outputs if t.name in wanted]
        try:
            graph = Graph(self._path.read_bytes())
            inputs = graph.needed_inputs(outputs)
            ins, outs = graph.contract(inputs, outputs)
            data = graph.slice(inputs, outputs)
            self._admit(data, ins, outs)
            part = Session(data, ins, outs, self._threads)
            part.warm(halt=self._halt)
        except (EdgeError, OSError) as error:
            _log.info("%s is computed with all outputs: %s", ", ".join(outputs), error)
        except Exception:  # the whole model stays in use
            _log.exception("a subset of %s", self._path)
        else:
            self._known[wanted] = part
