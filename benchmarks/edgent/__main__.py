"""Reproduces Edgent's published findings: `python -m benchmarks.edgent --out docs/images/edgent`.

Writes four plots and the numbers behind them (edgent.json), and prints one JSON object as its last line.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.edgent.findings import findings, summary
from benchmarks.edgent.plots import draw


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the files and prints the stated figures."""
    parser = argparse.ArgumentParser(prog="edgent", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="output folder")
    folder: Path = parser.parse_args(argv).out
    found = findings()
    for path in draw(found, folder):
        print(f"wrote {path}", file=sys.stderr)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    (folder / "edgent.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(json.dumps(summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
