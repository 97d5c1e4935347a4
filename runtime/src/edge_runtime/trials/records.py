"""Verdicts on this node's disk, one small file each. Blocking."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import orjson

from edge_runtime.model_store import write_whole
from edge_runtime.trials.verdicts import Verdict, read_verdict

_log = logging.getLogger(__name__)

MOST: Final = 512
"""Maximum verdicts on slices that are not in use: a plan often returns to earlier slices."""
_SUFFIX: Final = ".json"
_ABANDONED: Final = 600.0


class Records:
    """Verdicts by key. Without a folder, or if the disk does not take them, they are kept in memory only."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Verdict] = {}

    def get(self, key: str) -> Verdict | None:
        """The verdict of a key; None if it is missing or damaged."""
        known = self._known.get(key)
        if known is None and (found := self._read(key)) is not None:
            known = self._known[key] = found[1]
        return known

    def put(self, key: str, digest: str, verdict: Verdict) -> None:
        """Stores a verdict about the slice of this digest."""
        self._known[key] = verdict
        if self._folder is not None:
            document = verdict.document() | {"digest": digest}
            try:
                write_whole(self._path(key), orjson.dumps(document))
            except OSError as error:
                _log.warning("a verdict is not kept on disk, so %s will be tried again: %s", digest, error)

    def remove(self, key: str) -> None:
        """Removes a verdict."""
        self._known.pop(key, None)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(key).unlink(missing_ok=True)

    def keep_only(self, digests: Collection[str]) -> None:
        """Removes damaged verdicts, and the oldest beyond MOST of those about other slices."""
        if self._folder is None:
            return
        others: list[tuple[float, str]] = []
        for path in self._files():
            with contextlib.suppress(OSError):  # another thread may have removed it
                if path.suffix != _SUFFIX:
                    if path.stat().st_mtime < time.time() - _ABANDONED:  # an interrupted write
                        path.unlink(missing_ok=True)
                    continue
                found = self._read(path.stem)
                if found is None:
                    self.remove(path.stem)
                elif found[0] not in digests:
                    others.append((path.stat().st_mtime, path.stem))
        for _, key in sorted(others)[: max(len(others) - MOST, 0)]:
            self.remove(key)

    def _files(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return list(self._folder.iterdir()) if self._folder is not None else []
        return []

    def _read(self, key: str) -> tuple[str, Verdict] | None:
        if self._folder is None:
            return None
        try:
            document = orjson.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return None
        verdict = read_verdict(document)
        return None if verdict is None else (str(document.get("digest", "")), verdict)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}{_SUFFIX}"
