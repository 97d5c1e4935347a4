"""The systemd units that are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.stand_in.units import MARKER, Unit, quoted
from testbed.client_programs import PACKAGES

STANDING_IN = Unit("edge-runtime", [sys.executable, "serve-node", "--after", "30s"], "1.0", Path("/bin/sh"))
SERVING = Unit("digits", [sys.executable, "serve", "/models/a b.onnx", "--name", "100%"], "1.0")


@pytest.mark.parametrize("unit", [STANDING_IN, SERVING], ids=["serve-node", "serve"])
def test_systemd_accepts_the_unit(tmp_path: Path, unit: Unit) -> None:
    program = "systemd-analyze"
    assert shutil.which(program), f"{program} is not installed: apt-get install {PACKAGES[program]}"
    file = tmp_path / f"{unit.name}.service"
    file.write_text(unit.text)
    done = subprocess.run([program, "verify", "--man=no", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_unit_begins_with_how_it_is_removed() -> None:
    assert STANDING_IN.text.startswith(f"{MARKER} 1.0; `edge-runtime remove-unit --name edge-runtime`")


def test_a_stand_in_ends_once_it_has_handed_over_and_takes_its_rules_along() -> None:
    lines = STANDING_IN.text.splitlines()
    assert "Restart=on-failure" in lines
    assert "ExecStopPost=-/bin/sh delete table inet edge-runtime" in lines
    assert "DynamicUser=yes" not in lines


def test_a_server_is_always_restarted_and_has_no_rights() -> None:
    lines = SERVING.text.splitlines()
    assert {"Restart=always", "DynamicUser=yes"} <= set(lines)
    assert f'ExecStart={sys.executable} serve "/models/a b.onnx" --name "100%%"' in lines


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--name", "--name"),
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("$HOME", '"$$HOME"'),
        ("", '""'),
        ("a\\b", '"a\\\\b"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert quoted(word) == written
