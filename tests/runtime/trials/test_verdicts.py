"""The verdict from the end of a trial, and how long it is valid: property tests."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from edge_runtime.errors import CannotLoad
from edge_runtime.tensors import Tensor
from edge_runtime.trials.findings import proven
from edge_runtime.trials.verdicts import (
    MEMORY,
    STOP,
    TIME,
    Bounds,
    End,
    Engine,
    Outcome,
    Verdict,
    judged,
    key_of,
    read_verdict,
)

ENGINE = Engine("1.2.3", "CPUExecutionProvider", 1)
OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
LASTING = {Outcome.PASSED, Outcome.REFUSED, Outcome.CRASHED}

moments = st.floats(0, 4e9)
bounds = st.builds(Bounds, st.floats(0.1, 3600), st.floats(1, 1e12))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
verdicts = st.builds(
    Verdict,
    st.sampled_from(Outcome),
    st.text(max_size=20),
    moments,
    st.integers(1, 60),
    st.floats(0, 1e12),
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=3),
)
ends = st.builds(
    End,
    st.integers(-64, 255),
    st.sampled_from(["", "loading it", "running it"]),
    st.sampled_from(["", "what(): std::bad_alloc", "Aborted"]),
    st.sampled_from(["", "", TIME, MEMORY, STOP]),
)


@given(ends, bounds)
def test_no_end_of_a_process_lets_its_slice_join(end: End, limits: Bounds) -> None:
    verdict = judged(end, ENGINE, limits)
    error = verdict.error("slice sha256:12")
    assert isinstance(error, CannotLoad)
    assert str(error).startswith("slice sha256:12: ")
    assert (end.stage or "starting") in str(error)


@given(st.sampled_from(signal.Signals), st.sampled_from(["loading it", "running it"]), bounds)
def test_a_signal_of_the_processs_own_is_a_crash_for_good_and_one_from_outside_is_not_a_result(
    number: signal.Signals, stage: str, limits: Bounds
) -> None:
    assume(number != signal.SIGALRM)
    verdict = judged(End(-number, stage), ENGINE, limits)
    outside = number in OUTSIDE
    assert verdict.outcome == (Outcome.BROKEN_OFF if outside else Outcome.CRASHED)
    assert number.name in verdict.said
    assert verdict.stale(verdict.at + 1e9, limits) == outside


def test_what_this_side_ended_is_named_by_the_bound_that_was_passed() -> None:
    limits = Bounds(7.5, 300 << 20)
    late = judged(End(-signal.SIGKILL, "running it", "", TIME), ENGINE, limits)
    large = judged(End(-signal.SIGKILL, "running it", "", MEMORY), ENGINE, limits)
    abort = judged(End(-signal.SIGABRT, "running it", "what(): std::bad_alloc"), ENGINE, limits)
    alarm = judged(End(-signal.SIGALRM, "running it"), ENGINE, limits)
    assert (late.outcome, late.bound, alarm) == (Outcome.HUNG, 7.5, late)
    assert (large.outcome, large.bound, abort) == (Outcome.OVERRAN, 300 << 20, large)
    assert "7.5 s" in late.said
    assert "300 MiB" in large.said


@given(verdicts, st.dictionaries(st.text(max_size=4), documents, max_size=3))
def test_a_verdict_is_read_unchanged_whatever_a_later_version_adds(
    verdict: Verdict, more: dict[str, Any]
) -> None:
    document = verdict.document()
    added = {f"new {key}": value for key, value in more.items()}
    assert read_verdict(json.loads(json.dumps(added | document))) == verdict


@given(
    documents
    | st.builds(
        lambda v, d: v.document() | d,
        verdicts,
        st.dictionaries(
            st.sampled_from(["format", "outcome", "said", "at", "attempts", "bound", "findings"]), documents
        ),
    )
)
def test_whatever_lies_on_the_disk_is_a_verdict_or_nothing_known(document: Any) -> None:
    found = read_verdict(document)
    if found is not None:
        assert found.attempts >= 1
        found.stale(1e9, Bounds(60, 1e9))
        assert (found.error("s") is None) == (found.outcome is Outcome.PASSED)


@given(verdicts, moments, bounds)
def test_results_that_another_run_cannot_change_hold_forever(
    verdict: Verdict, now: float, limits: Bounds
) -> None:
    if verdict.outcome in LASTING:
        assert not verdict.stale(now, limits)


@given(verdicts, st.floats(0, 1e6), bounds)
def test_others_are_tried_again_after_a_while_that_grows_with_each_attempt_and_has_an_end(
    verdict: Verdict, waited: float, limits: Bounds
) -> None:
    assume(verdict.outcome not in LASTING)
    least = replace(verdict, bound=max(limits.seconds, limits.room))
    assert not least.stale(least.at, limits)
    assert least.stale(least.at + 86_401, limits)
    later = replace(least, attempts=least.attempts + 1)
    assert least.stale(least.at + waited, limits) or not later.stale(least.at + waited, limits)
    assert least.stale(least.at - 1, limits), "a clock that was set back says nothing"


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_time_and_more_memory_are_worth_another_trial_at_once(before: float, now: float) -> None:
    hung, large = (Verdict(o, at=1.0, bound=before) for o in (Outcome.HUNG, Outcome.OVERRAN))
    assert hung.stale(1.0, Bounds(now, 1)) == (now > before)
    assert large.stale(1.0, Bounds(1, now)) == (now > 1.1 * before)


_TENSOR = st.builds(
    Tensor, st.sampled_from(["x", "y"]), st.sampled_from(["FP32", "INT8"]), st.tuples(st.integers(-1, 3))
)
_ASKED = st.tuples(
    st.sampled_from(["sha256:1", "sha256:2"]),
    st.lists(_TENSOR, max_size=2).map(tuple),
    st.lists(_TENSOR, max_size=2).map(tuple),
    st.builds(
        Engine,
        st.sampled_from(["1.30.0", "1.31.0"]),
        st.sampled_from(["CPUExecutionProvider", "XnnpackExecutionProvider"]),
        st.integers(1, 2),
        st.lists(st.sampled_from(["rows", "peak"]), max_size=2).map(tuple),
    ),
)


@given(_ASKED, _ASKED)
def test_a_verdict_is_found_again_for_the_very_same_slice_contract_and_engine(one: Any, other: Any) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


proofs = st.dictionaries(st.sampled_from(["alone", "unrepeatable", "more"]), documents, max_size=3)


@given(documents | proofs)
def test_findings_of_a_damaged_file_prove_nothing(document: Any) -> None:
    found = proven({"rows": document})
    told = isinstance(document, dict) and all(
        isinstance(document.get(name), str) for name in ("alone", "unrepeatable")
    )
    assert (found is not None) is told
