"""docs/cli.md and docs/doctor.md are those of the commands and checks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_cli.app import COMMANDS, application
from edge_cli.doctor.registry import CHECKS
from edge_cli.reference import main, pages

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_as_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "docs"), "--check"]) == 0, capsys.readouterr().err


def test_a_page_that_differs_is_found_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "docs" / "cli.md", tmp_path)
    assert main([str(tmp_path), "--check"]) == 1
    assert "doctor.md" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0


def test_every_command_and_every_check_has_a_heading() -> None:
    text = pages()
    assert re.findall(r"^### ei ([a-z-]+)$", text["cli.md"], re.MULTILINE) == [
        name for name, _, _ in COMMANDS
    ]
    assert re.findall(r"^### (EI\d{4})$", text["doctor.md"], re.MULTILINE) == [check.code for check in CHECKS]


def test_every_command_has_help_and_every_flag_a_meaning() -> None:
    import typer.main

    commands: dict[str, Any] = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
    assert {name for name, command in commands.items() if not command.help} == set()
    silent = [(n, p.name) for n, c in commands.items() for p in c.params if not getattr(p, "help", "")]
    assert silent == []


def test_help_imports_neither_the_planner_nor_the_clients() -> None:
    program = (
        "import sys; from edge_cli.app import main; main(['--help']); "
        "print(sorted({'kubernetes', 'numpy', 'onnx', 'onnxruntime', 'kopf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "at", "expected"), [("ei exp", 1, "explain"), ("ei explain --names", 2, "--namespace")]
)
def test_a_shell_completes_commands_and_flags(words: str, at: int, expected: str) -> None:
    variables = {"_EI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    command = [sys.executable, "-m", "edge_cli.app"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert expected in done.stdout.split()
