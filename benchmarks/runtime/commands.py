"""The benchmarks as commands: what they are told, and how they tell what they found."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed.errors import TestbedError

Say = Callable[[str], None]


def say(line: str) -> None:
    """One line of what is going on, to stderr."""
    print(line, file=sys.stderr, flush=True)


def described(name: str, doc: str | None) -> argparse.ArgumentParser:
    """What reads the flags of a benchmark: --quick, and those that it adds."""
    parser = argparse.ArgumentParser(
        prog=name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little of each: a check, not a measurement")
    return parser


def command(name: str, doc: str | None, measure: Callable[[Path, Say, bool], dict[str, object]]) -> int:
    """A benchmark that takes nothing but --quick; the status with which it ends."""
    quick = described(name, doc).parse_args().quick
    return reported(name, lambda folder: measure(folder, say, quick))


def reported(name: str, work: Callable[[Path], dict[str, object]]) -> int:
    """Does the work in a folder of its own and prints one JSON object as the last line.

    The status: 1 where the machine cannot do it, 130 when it was interrupted.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            found = work(Path(folder))
    except TestbedError as error:
        say(f"{name}: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"{name}: interrupted; nothing is left behind")
        return 130
    print(json.dumps(found))
    return 0
