import signal
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from demo import cli
from demo.cli import INTERRUPTED, Steps, failures, main, parser, taken_down, tenant_lines
from demo.errors import StepFailed
from demo.reports import DemoResult, document
from demo.training import Training
from messages import mentions
from sharing_results import LISTED, sharing_result


class Bed:
    """A cluster whose start ends in a given way."""

    def __init__(self, ends_with: BaseException) -> None:
        self.ends_with = ends_with
        self.stops = 0

    def start(self, step: object, say: object) -> None:
        raise self.ends_with

    def stop(self) -> None:
        self.stops += 1

    def where_to_look(self) -> tuple[str, ...]:
        return (".testbed/logs",)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the signal handlers."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def started(monkeypatch: pytest.MonkeyPatch, ends_with: BaseException, *argv: str) -> tuple[int, Bed]:
    bed = Bed(ends_with)
    monkeypatch.setattr(cli, "cluster_of", lambda arguments: bed)
    monkeypatch.setattr(Training, "run", lambda self: self.model)
    return main(argv), bed


def test_an_interruption_takes_the_cluster_down_even_when_it_was_to_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, bed = started(monkeypatch, KeyboardInterrupt(), "--keep")
    assert (code, bed.stops) == (INTERRUPTED, 1)


def test_a_termination_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminated(Bed):
        def start(self, step: object, say: object) -> None:
            signal.raise_signal(signal.SIGTERM)

    bed = Terminated(KeyboardInterrupt())
    monkeypatch.setattr(cli, "cluster_of", lambda arguments: bed)
    monkeypatch.setattr(Training, "run", lambda self: self.model)
    assert (main([]), bed.stops) == (INTERRUPTED, 1)


def test_a_step_that_fails_is_one_sentence_with_where_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = "no space is left for images"
    code, bed = started(monkeypatch, StepFailed(problem))
    shown = capsys.readouterr().out
    assert (code, bed.stops) == (1, 1)
    assert f"demo: {problem}" in shown
    assert "look at .testbed/logs" in shown
    assert "Traceback" not in shown


def test_a_failure_leaves_a_cluster_that_is_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    code, bed = started(monkeypatch, StepFailed("no space"), "--keep")
    assert (code, bed.stops) == (1, 0)


def test_an_unexpected_error_takes_the_cluster_down_as_well() -> None:
    bed: Any = Bed(KeyboardInterrupt())
    with pytest.raises(ZeroDivisionError), taken_down(bed, keep=False, steps=Steps(Console(quiet=True))):
        raise ZeroDivisionError
    assert bed.stops == 1


def test_an_existing_cluster_without_triton_gets_a_message_with_the_fix(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--cluster", "existing"]) == 1
    assert "--cluster existing needs --triton HOST:PORT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("acts", "modes", "tenants"),
    [("modes", True, False), ("tenants", False, True), ("modes,tenants", True, True)],
)
def test_only_the_named_acts_can_fail_the_demo(acts: str, modes: bool, tenants: bool) -> None:
    found = failures({"modes": {}, "tenants": None}, parser().parse_args(["--acts", acts, "--modes", "Auto"]))
    assert [line.split()[0] for line in found] == ["Auto"] * modes + ["the"] * tenants


def test_an_act_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--acts", "third"])
    assert mentions("--acts", '"third"', "modes, tenants").search(capsys.readouterr().err)


def test_what_the_tenants_got_follows_what_kubectl_listed() -> None:
    report = document(DemoResult([], 0.1, 1.0, 0.0, {}, sharing_result()))
    heading, *rows, quiet, noisy = tenant_lines(report["tenants"])
    assert "kubectl get tenants" in heading
    assert rows == LISTED.splitlines()
    assert quiet.startswith("quiet")
    assert noisy.startswith("noisy")


def test_a_mode_that_there_is_not_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--modes", "Auto,Fastest"])
    refusal = capsys.readouterr().err
    assert "--modes" in refusal
    assert '"Fastest"' in refusal
    assert "Auto, CloudOnly" in refusal


@pytest.mark.parametrize("flag", ["--phase-seconds", "--tenant-seconds", "--rate", "--timeout"])
def test_a_number_that_is_not_above_zero_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([flag, "0"])
    assert f'{flag}: "0"' in capsys.readouterr().err
