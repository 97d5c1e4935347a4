"""promtool, and the rules and dashboards as the chart has them."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

import pytest
import yaml

from rule_files import FILES, RULES, Document, Promtool
from testbed.prerequisites import PACKAGES, debian, install


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Runs promtool, which Debian's package of Prometheus has."""
    if shutil.which("promtool") is None:
        package = PACKAGES["promtool"]
        assert debian(), f"promtool: not on PATH: install it with the package {package} of Debian"
        assert os.geteuid() == 0, f"promtool: not on PATH: run `apt-get install {package}` as root"
        install([package], print, "put promtool on PATH")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def groups() -> Sequence[Document]:
    """The groups of rules."""
    found: list[Document] = yaml.safe_load(RULES.read_text())["groups"]
    return found


@pytest.fixture(scope="session")
def boards() -> Mapping[str, Document]:
    """The dashboards by uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FILES / "dashboards").glob("*.json"))}
