"""Writes the rules and dashboards into the chart: `python -m edge_monitoring.generate FOLDER`.

`--check` only compares, for `make lint`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from edge_monitoring.alerts import alert_groups
from edge_monitoring.dashboards import DASHBOARDS
from edge_monitoring.rules import recording_groups

_HEADER = "# Written by `make generate` from monitoring/src/edge_monitoring; do not edit.\n"


def rules() -> str:
    """Returns the rules in the format of Prometheus' rule files."""
    groups = {"groups": [*recording_groups(), *alert_groups()]}
    return _HEADER + yaml.safe_dump(groups, sort_keys=False, width=120, allow_unicode=True)


def dashboard(uid: str) -> str:
    """Returns a dashboard in Grafana's JSON."""
    return JSONEncoder(sort_keys=True, indent=1).encode(DASHBOARDS[uid]().build()) + "\n"


def files() -> dict[str, str]:
    """Returns the content of every file, by its path in the chart's folder `files`."""
    return {"rules.yaml": rules(), **{f"dashboards/{uid}.json": dashboard(uid) for uid in DASHBOARDS}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or compares them with --check; returns 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m edge_monitoring.generate", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder `files` of the chart")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    parsed = parser.parse_args(arguments)
    wrong = 0
    for name, text in files().items():
        path = parsed.folder / name
        if path.is_file() and path.read_text() == text:
            continue
        if parsed.check:
            print(f"{path}: does not match edge_monitoring: run `make generate`", file=sys.stderr)
            wrong = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
