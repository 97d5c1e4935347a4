"""Prints every step with its duration."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console


class Steps:
    """Prints each step with its duration in seconds, and keeps these for the report."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step; does not record one that fails."""
        self.say(f"{name} …")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self._console.print(
            f"demo: {name}: {self.seconds[name]:.1f} s", style="bold", highlight=False, markup=False
        )

    def say(self, line: str) -> None:
        self._console.print(f"demo:   {line}", highlight=False, markup=False, style="dim")
