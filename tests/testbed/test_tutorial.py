"""The commands of docs/tutorial.md, typed in a new checkout as its readers do."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.experience.install_page import blocks, checkout
from terminals import Terminal, terminal
from terminating import interrupted_by_sigterm
from testbed import Testbed
from testbed.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.extended, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/tutorial.md"
OTHER_TERMINAL = "testbed link "
"""Begins the block that is typed in the second terminal."""
ASK = "ei infer digits --at edge-b --npy digit.npy -o json"
PATIENCE = 120.0


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A checkout as cloned, with what was downloaded and built before; its cluster is removed at the end.

    `make setup` makes a virtual environment in .cache, which names its own folder: that is not shared.
    """
    folder = checkout(ROOT, tmp_path / "checkout")
    (folder / ".cache").mkdir()
    for built in (ROOT / ".cache").iterdir():
        if built.name != "uv":
            (folder / ".cache" / built.name).symlink_to(built.resolve())
    bed = Testbed.of_checkout(folder)
    with interrupted_by_sigterm():
        try:
            yield folder
        finally:
            bed.down()


def variables() -> dict[str, str]:
    """The environment of a person who has not activated that of the tests."""
    ours = {str(Path(sys.executable).parent), str(ROOT / ".venv" / "bin")}
    path = [each for each in os.environ.get("PATH", "").split(os.pathsep) if each not in ours]
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "KUBECONFIG"}
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    return kept | {"PATH": os.pathsep.join(path), "SHELL": "/bin/bash"}


def answered(shell: Terminal) -> dict[str, str]:
    """The parameters of the response to a request at the camera."""
    found: dict[str, str] = json.loads(shell.type(ASK))["parameters"]
    return found


def test_the_tutorial_leads_to_a_response_and_to_local_exits_when_the_link_is_cut(here: Path) -> None:
    texts = blocks((here / PAGE).read_text(encoding="utf-8"))
    links = next(place for place, text in enumerate(texts) if text.startswith(OTHER_TERMINAL))
    outputs = {}
    with terminal(here, variables()) as first, terminal(here, variables()) as second:
        for text in texts[:links]:
            # A busy machine measures the model for longer than the page tells its readers to wait.
            outputs[text] = first.type(text.replace("--timeout 5m", "--timeout 30m"))
            print(f"{text}{outputs[text][-1500:]}")
        second.type(". .venv/bin/activate")
        for command in texts[links].splitlines():
            second.type(command)
            if "--cut" in command:
                wait_until(
                    lambda: answered(first)["cut"] == "local",
                    PATIENCE,
                    lambda: f"edge-b is cut off, and a response has {answered(first)}",
                    every_seconds=0.5,
                )
        for text in texts[links + 1 :]:
            outputs[text] = first.type(text)
    for name in ("edge-a", "edge-b", "edge-c"):
        assert name in next(output for text, output in outputs.items() if "ei status" in text)
    assert "exit exit" in next(output for text, output in outputs.items() if "ei infer" in text)
    assert "exit5@" in next(output for text, output in outputs.items() if "ei explain" in text)
    assert not Testbed.of_checkout(here).running()
