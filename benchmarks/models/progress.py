"""How far `make models` is: a bar on a terminal, otherwise a line for each file."""

from typing import TextIO

_WIDTH = 30


class Progress:
    """Shows the files that are done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._drawn = stream, stream.isatty()

    def __call__(self, done: int, of: int, name: str) -> None:
        """Shows that one more file is done."""
        if not self._drawn:
            self._stream.write(f"{done}/{of} {name}\n")
        else:
            full = _WIDTH * done // of
            bar = "#" * full + "." * (_WIDTH - full)
            self._stream.write(f"\r[{bar}] {done}/{of} {name:<30}" + ("\n" if done == of else ""))
        self._stream.flush()
