"""Work on a thread that ends with a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress


@contextmanager
def in_background(work: Callable[[], object], abort: Callable[[], object]) -> Iterator[None]:
    """Runs `work` on a thread while the block runs; both have ended when this returns.

    If the block fails or is interrupted, `abort` is called, which must make `work` end soon, and the block's
    error is raised. If `work` fails, its error is raised at the end of the block.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="background") as pool:
        running = pool.submit(work)
        try:
            yield
        except BaseException:
            abort()
            with suppress(Exception):
                running.result()
            raise
        running.result()
