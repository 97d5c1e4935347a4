"""What the benchmarks on shaped links have in common as commands."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed.errors import TestbedError

Say = Callable[[str], None]


def reported(name: str, work: Callable[[Path, Say], dict[str, object]]) -> int:
    """Does the work in a folder of its own, with progress on stderr and one JSON object as the last line."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            found = work(Path(folder), say)
    except TestbedError as error:
        say(f"{name}: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"{name}: interrupted; nothing is left behind")
        return 130
    print(json.dumps(found))
    return 0
