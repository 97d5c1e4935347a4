from pathlib import Path

import pytest

from testbed import coverage
from testbed.coverage import Module

PROJECT = """
[tool.slipcover]
source = ["src"]
format = "json"
fail-under = {floor}

[tool.pytest.ini_options]
pythonpath = ["src"]
filterwarnings = ["error"]
asyncio_default_fixture_loop_scope = "function"
"""
MODULE = """
def sign(value):
    if value < 0:
        return -1
    return 1
"""
TESTS = """
from signs import sign


def test_a_positive_value():
    assert sign({value}) == 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Five lines in two modules, of which the test runs three: one module is never imported."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "signs.py").write_text(MODULE)
    (tmp_path / "src" / "unused.py").write_text("UNUSED = 1\n")
    (tmp_path / "test_signs.py").write_text(TESTS.format(value=2))
    return tmp_path


def test_a_share_below_the_floor_fails_and_names_floor_modules_and_lines(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "pyproject.toml").write_text(PROJECT.format(floor=90))

    code = coverage.main(["-q"], checkout)

    message = capfd.readouterr().err
    assert code == 1
    assert "60.00 %" in message
    assert "90 %" in message
    assert "1 of    4  src/signs.py\n           lines 4\n" in message
    assert "1 of    1  src/unused.py" in message
    assert "pyproject.toml" in message


def test_a_share_at_the_floor_passes(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "pyproject.toml").write_text(PROJECT.format(floor=60))

    code = coverage.main(["-q", "--modules"], checkout)

    message = capfd.readouterr().out
    assert code == 0
    assert "75.0 %     1 of    4  src/signs.py" in message
    assert "60.00 % of lines, the floor is 60 %" in message


def test_a_part_of_the_tests_has_no_floor(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text(PROJECT.format(floor=90))

    assert coverage.main(["-q", "--no-floor"], checkout) == 0


def test_failed_tests_fail_with_the_exit_code_of_pytest(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "pyproject.toml").write_text(PROJECT.format(floor=0))
    (checkout / "test_signs.py").write_text(TESTS.format(value=-2))

    code = coverage.main(["-q"], checkout)

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "not checked" in capfd.readouterr().err


def test_a_verdict_names_the_first_lines_of_a_module_and_the_table_all_of_them() -> None:
    module = Module("large.py", 0, tuple(range(1, 41, 2)))

    _, message = coverage.verdict([module], 99)

    assert "lines 1, 3, 5, 7, 9, 11, 13, 15, ...\n" in message
    assert "37, 39" in "\n".join(coverage.table([module]))


def test_the_modules_with_the_most_missing_lines_come_first() -> None:
    modules = [
        Module("small.py", 0, (1,)),
        Module("covered.py", 50, ()),
        Module("large.py", 40, (2, 3, 4, 9)),
    ]

    reached, message = coverage.verdict(modules, 99)

    assert not reached
    assert message.index("large.py") < message.index("small.py")
    assert "lines 2-4, 9" in message
    assert "covered.py" not in message
