"""The benchmarks as commands: their flags, progress lines and results."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from testbed.errors import TestbedError

Say = Callable[[str], None]


class Measure(Protocol):
    """Runs a benchmark in the folder and returns its results."""

    def __call__(self, folder: Path, say: Say, /, *, quick: bool) -> dict[str, object]: ...


def say(line: str) -> None:
    """Prints a progress line to stderr."""
    print(line, file=sys.stderr, flush=True)


def described(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Returns the parser of a benchmark's flags: --quick, and those that it adds."""
    parser = argparse.ArgumentParser(
        prog=name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions: a check, not a measurement")
    return parser


def command(name: str, doc: str | None, measure: Measure) -> int:
    """Runs a benchmark whose only flag is --quick; returns the exit status."""
    quick = described(name, doc).parse_args().quick
    return reported(name, lambda folder: measure(folder, say, quick=quick))


def reported(name: str, work: Callable[[Path], dict[str, object]]) -> int:
    """Runs the work in a temporary folder and prints one JSON object as the last line.

    Returns the exit status: 1 if the machine cannot run it, 130 if it was interrupted.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            found = work(Path(folder))
    except TestbedError as error:
        say(f"{name}: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"{name}: interrupted; everything is removed")
        return 130
    print(json.dumps(found))
    return 0
