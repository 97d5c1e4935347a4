"""Slices that crash, hang and exhaust memory do so in a separate process; with real processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import CannotLoad, DigestMismatch, NotTried, TrialCrashed, TrialHung, TrialOverran
from edge_runtime.inference.memory import Memory
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.tensors import Tensor
from edge_runtime.trials import child_process
from edge_runtime.trials.admission import Subject, Trials
from edge_runtime.trials.child import MODULE
from edge_runtime.trials.records import Records
from edge_runtime.trials.verdicts import Bounds, Outcome
from misbehaving import crashing, crashing_on_ones, endless, greedy, harmless, looping

MIB = 1 << 20
TRIPS = 300_000  # of a loop that takes some tenths of a second


def subject(data: bytes, columns: int = 6, source: bytes | Path | None = None) -> Subject:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    tensors = (Tensor("x", "FP32", (-1, 8)),), (Tensor("y", "FP32", (-1, columns)),)
    return Subject("the slice", data if source is None else source, len(data), digest, *tensors)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, what
        pause.wait(0.02)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_process_tries_one_slice_after_the_other_and_another_follows_a_crash() -> None:
    with Trials() as trials:
        assert trials.judge(subject(harmless(1))).outcome is Outcome.PASSED
        assert trials.judge(subject(harmless(2))).outcome is Outcome.PASSED
        assert trials.started == 1
        for seed in (1, 2):
            with pytest.raises(TrialCrashed, match=r"the slice: .* SIG"):
                trials.admit(subject(crashing(seed)))
        assert trials.judge(subject(harmless(3))).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "given",
    [Given(values={"x": "1"}), Given({"x": (3, 8)}, {"x": "1"}), Given(samples=Path("x.npz"))],
    ids=["a value", "a shape, too", "samples"],
)
def test_it_is_run_on_what_is_given_of_its_inputs(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = np.zeros((3, 8), np.float32)
    rows[2] = 1
    np.savez("x.npz", x=rows)
    with Trials() as trials:
        assert trials.judge(subject(crashing_on_ones())).outcome is Outcome.PASSED
        asked = replace(subject(crashing_on_ones()), digest="", given=given)
        assert trials.judge(asked).outcome is Outcome.CRASHED
        assert trials.judge(replace(asked, given=Given(values={"none": "1"}))).outcome is Outcome.PASSED


def test_what_is_known_starts_no_process_after_a_restart_either(tmp_path: Path) -> None:
    with Trials(Records(tmp_path)) as trials:
        trials.admit(subject(harmless()))
        with pytest.raises(TrialCrashed) as first:
            trials.admit(subject(crashing()))
    with Trials(Records(tmp_path)) as again:
        assert again.admit(subject(harmless())).findings["peakBytes"] > MIB
        with pytest.raises(TrialCrashed) as second:
            again.admit(subject(crashing()))
        assert str(second.value) == str(first.value)
        assert again.started == 0


@pytest.mark.parametrize("change", ["version", "threads", "damage"])
def test_another_onnxruntime_other_threads_or_a_damaged_verdict_have_it_tried_again(
    tmp_path: Path, change: str
) -> None:
    with Trials(Records(tmp_path)) as trials:
        trials.admit(subject(harmless()))
    (file,) = tmp_path.iterdir()
    if change == "damage":
        file.write_bytes(file.read_bytes()[:20])
    changes: dict[str, dict[str, Any]] = {"version": {"version": lambda: "99.0"}, "threads": {"threads": 2}}
    more = changes.get(change, {})
    with Trials(Records(tmp_path), **more) as again:
        again.admit(subject(harmless()))
        assert again.started == 1


def test_one_that_does_not_end_is_ended_and_the_next_is_tried(tmp_path: Path) -> None:
    with Trials(Records(tmp_path), seconds=5.0) as trials:
        with pytest.raises(TrialHung, match="within 5 s while running it"):
            trials.admit(subject(endless(), 8))
        trials.admit(subject(harmless()))
        assert trials.known("sha256:0", (), ()) is None


def test_one_that_wants_more_memory_than_there_is_ends_without_taking_it() -> None:
    memory = Memory(1000 * MIB, lambda: 400 * MIB)
    with Trials(memory=memory) as trials:
        with pytest.raises(TrialOverran, match="more than the 500 MiB"):
            trials.admit(subject(greedy(), 8))
        trials.admit(subject(harmless()))


def test_a_process_that_grows_beyond_its_bound_is_ended() -> None:
    with Trials(memory=Memory(100 * MIB, lambda: 80 * MIB)) as trials, pytest.raises(TrialOverran):
        trials.admit(subject(harmless()))


def test_what_does_not_fit_beside_what_is_in_use_is_refused_without_a_trial() -> None:
    with Trials(memory=Memory(200 * MIB, lambda: 150 * MIB)) as trials:
        with pytest.raises(CannotLoad, match=r" 96 MiB .* 30 MiB "):
            trials.check_room(subject(harmless()))
        assert trials.started == 0


def test_what_onnxruntime_refuses_and_what_breaks_its_contract_is_a_sentence(tmp_path: Path) -> None:
    with Trials(Records(tmp_path)) as trials:
        with pytest.raises(CannotLoad, match="onnxruntime cannot load it"):
            trials.admit(subject(b"not a model"))
        with pytest.raises(CannotLoad, match="output y is float32"):
            trials.admit(subject(harmless(), columns=5))
        assert trials.started == 1
    with Trials(Records(tmp_path)) as again, pytest.raises(CannotLoad, match="onnxruntime cannot load it"):
        again.admit(subject(b"not a model"))


def test_a_file_that_is_not_what_its_digest_says_gets_no_verdict(tmp_path: Path) -> None:
    file, records = tmp_path / "slice", Records(tmp_path / "trials")
    file.write_bytes(crashing())
    with Trials(records) as trials:
        with pytest.raises(DigestMismatch):
            trials.admit(subject(harmless(), source=file))
        file.write_bytes(harmless())
        trials.admit(subject(harmless(), source=file))


def test_one_that_was_ended_from_outside_is_tried_again_but_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    _kill_when_asked(monkeypatch)
    killed = pytest.raises(NotTried, match="SIGKILL")
    with Trials(Records(tmp_path), clock=lambda: now[0]) as trials, killed:
        trials.admit(subject(endless(), 8))
    monkeypatch.undo()
    with Trials(Records(tmp_path), seconds=1.0, clock=lambda: now[0]) as again:
        with pytest.raises(NotTried):
            again.admit(subject(endless(), 8))
        assert again.started == 0
        now[0] += 11
        with pytest.raises(TrialHung):
            again.admit(subject(endless(), 8))


def test_when_the_node_goes_down_by_a_trial_the_next_start_does_not_begin_with_it(
    tmp_path: Path,
) -> None:
    script = (
        "import pathlib, sys\n"
        "from edge_runtime.tensors import Tensor\n"
        "from edge_runtime.trials.admission import Subject, Trials\n"
        "from edge_runtime.trials.records import Records\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "t = (Tensor('x', 'FP32', (-1, 8)),), (Tensor('y', 'FP32', (-1, 8)),)\n"
        "Trials(Records(pathlib.Path(sys.argv[2]))).admit(Subject('s', data, len(data), sys.argv[3], *t))\n"
    )
    file = tmp_path / "endless.onnx"
    file.write_bytes(endless())
    asked = subject(endless(), 8)
    parent = subprocess.Popen([sys.executable, "-c", script, file, tmp_path / "trials", asked.digest])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        until(lambda: bool(children.read_text().split()), "no process was started")
        child = int(children.read_text().split()[0])
        until(lambda: any((tmp_path / "trials").glob("*.json")), "nothing was written before the trial")
        assert running(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not running(child), "the trial outlives who wanted it")
    with Trials(Records(tmp_path / "trials")) as trials:
        with pytest.raises(NotTried, match="runtime ended"):
            trials.admit(asked)
        assert trials.started == 0


def test_what_is_not_wanted_any_more_is_broken_off_and_leaves_no_verdict(tmp_path: Path) -> None:
    trials = Trials(Records(tmp_path))
    errors: list[Exception] = []

    def ask() -> None:
        with trials:
            for data, columns in ((endless(), 8), (harmless(), 6)):
                try:
                    trials.admit(subject(data, columns))
                except CannotLoad as error:
                    errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: trials.started == 1, "no process was started")
    trials.break_off()
    thread.join(60)
    assert [type(error) for error in errors] == [NotTried, NotTried]
    assert not list(tmp_path.iterdir())
    with trials:
        trials.admit(subject(harmless()))


def test_bytes_that_fill_the_pipe_many_times_arrive_whole() -> None:
    large = harmless() + b"\x7a\x00" * (4 * MIB)  # fields that no reader of ONNX knows
    with Trials() as trials:
        trials.admit(subject(large))
        with pytest.raises(CannotLoad, match="cannot load"):
            trials.admit(subject(large[:-1]))
        trials.admit(subject(harmless()))


def test_its_own_clock_ends_a_process_whose_parent_looks_away() -> None:
    head = {"path": None, "digest": "", "threads": 1, "mustFit": True, "seconds": 0.1, "room": None}
    head |= {"inputs": None, "outputs": None, "size": len(endless())}
    asked = head | {"given": NOTHING.document()}
    argv = [sys.executable, "-m", "edge_runtime.trials.child", str(os.getpid())]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n" + endless())
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGALRM


def test_a_process_stopped_before_it_is_up_has_not_failed() -> None:
    with pytest.raises(NotTried, match="no longer needed"):
        child_process.Child(MODULE, lambda: True)


def test_where_no_process_can_be_started_that_is_said_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with Trials(Records(tmp_path)) as trials, pytest.raises(NotTried, match="temporarily unavailable"):
        trials.admit(subject(harmless()))
    assert not list(tmp_path.iterdir())


def state(pid: int) -> str:
    """The kernel's letter for the process: T where it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_is_paused_while_requests_are_computed_and_resumed_after() -> None:
    busy, stop = threading.Event(), threading.Event()
    child = child_process.Child(MODULE, stop.is_set, busy.is_set)
    head = {"path": None, "digest": "", "inputs": None, "outputs": None, "threads": 1, "mustFit": True}
    request = head | {"given": NOTHING.document()}
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            child.ask(request, Bounds(60.0, float("inf")), endless())
        except BaseException as error:  # what it ended with is not this test's matter
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        until(lambda: state(child.pid) == "R", "it runs")
        busy.set()
        until(lambda: state(child.pid) == "T", "it is paused")
        busy.clear()
        until(lambda: state(child.pid) == "R", "it is resumed")
    finally:
        busy.set()
        stop.set()
        asking.join(60)
        child.end()
    assert not running(child.pid)
    assert failed


def test_a_trial_ends_where_requests_never_do_and_pauses_are_not_its_time() -> None:
    busy = threading.Event()
    with Trials() as trials:
        start, alone = _seconds(trials, harmless(), 6), _seconds(trials, looping(TRIPS), 8)
    # It runs for a tenth of the time: with its pauses it would take longer than the limit.
    with Trials(busy=busy.is_set, seconds=2 * start + 5 * alone) as trials:
        trials.admit(subject(harmless()))  # starts the process
        busy.set()
        assert trials.judge(subject(looping(TRIPS), 8)).outcome is Outcome.PASSED
    with Trials(busy=busy.is_set, seconds=0.2) as trials, pytest.raises(TrialHung):
        trials.admit(subject(endless()))


def _seconds(trials: Trials, model: bytes, columns: int) -> float:
    """How long the trial of a model takes."""
    begun = time.monotonic()
    trials.admit(subject(model, columns))
    return time.monotonic() - begun


def _kill_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does if the node runs out of memory."""
    ask = child_process.Child.ask

    def asked(self: child_process.Child, *arguments: Any) -> child_process.Document:
        os.kill(self.pid, signal.SIGKILL)
        return ask(self, *arguments)

    monkeypatch.setattr(child_process.Child, "ask", asked)
