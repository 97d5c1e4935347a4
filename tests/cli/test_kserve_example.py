"""The converted manifest of the example is what `ei convert` writes."""

from pathlib import Path

import pytest

from edge_cli.app import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "11-from-kserve"


def test_the_example_from_kserve_has_what_the_command_writes(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["convert", str(EXAMPLE / "kserve.yaml"), "--latency", "300ms", "--pool", "factory"]
    assert main(given) == 0
    assert capsys.readouterr().out == (EXAMPLE / "inferenceservice.yaml").read_text()
