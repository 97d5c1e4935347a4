"""Terminals in which a test types commands, one block after another."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_MARK = "@@ typed"


class Terminal:
    """A shell that reads what is typed; programs that it runs, such as another shell, read on from there."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def type(self, text: str) -> str:
        """Types commands; returns their output once they are done. Fails with the output if one fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        lines = list[str]()
        # A shell that the commands open is to end at the first error, too.
        self._process.stdin.write(f"{text.rstrip()}\nset -e\necho '{_MARK}'\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.strip() == _MARK:
                return "".join(lines)
            lines.append(line)
        output = "".join(lines)
        raise AssertionError(f"exit status {self._process.wait()} after:\n{text}\n{output[-4000:]}")


@contextlib.contextmanager
def terminal(folder: Path, variables: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal in a folder, with these variables of the environment; closed at the end."""
    with subprocess.Popen(
        ["bash", "-e"], cwd=folder, env=dict(variables), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            yield Terminal(process)
        finally:
            process.kill()
