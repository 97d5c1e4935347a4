"""Results of files that were checked, one JSON object a line, so that a run continues an earlier one."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.checking import Checked


class Results:
    """The results in a file, which need not exist. A later line of the same file and steps counts more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._found: dict[tuple[str, ...], Checked] = {}
        for line in lines:
            entry = json.loads(line)
            self._found[_key(entry)] = Checked(**entry["checked"])

    def of(self, model: ModelFile, steps: Sequence[str]) -> Checked | None:
        """Returns the result of these steps with a file; None if it has none or has changed since."""
        return self._found.get(_key(_entry(model, steps)))

    def add(self, model: ModelFile, steps: Sequence[str], checked: Checked) -> None:
        """Writes a result at once: whatever ends the run, it stays."""
        entry = _entry(model, steps)
        self._found[_key(entry)] = checked
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as out:
            out.write(json.dumps({**entry, "checked": asdict(checked)}) + "\n")


def _entry(model: ModelFile, steps: Sequence[str]) -> dict[str, Any]:
    digest = hashlib.sha256(model.path.read_bytes()).hexdigest()
    return {"file": model.name, "sha256": digest, "steps": list(steps)}


def _key(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["file"], entry["sha256"], *entry["steps"]
