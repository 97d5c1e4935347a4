"""The rules and dashboards in the chart."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

FILES = Path(__file__).parents[2] / "charts" / "edge-intelligence" / "files"
RULES = FILES / "rules.yaml"
Promtool = Callable[..., CompletedProcess[str]]
Document = dict[str, Any]
