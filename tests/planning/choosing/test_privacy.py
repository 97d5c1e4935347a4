"""Which data leave the entry node: nothing, activations, or everything."""

from dataclasses import replace

import numpy as np

from edge_planning import (
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Infeasible,
    IntermediateNode,
    Mode,
    Model,
    Plan,
    Privacy,
    Slo,
    Timing,
    candidates,
    plan_entry,
)

CUTS = (Cut("image", 100_000), Cut("scaled", 100_000), Cut(("image", "pool"), 110_000), Cut("pool", 10_000))
NAMES = [*(cut.name for cut in CUTS), "logits"]
SECONDS = (0.001, 0.04, 0.01, 0.2)
MODEL = Model("digits", (Exit("full", "logits", 0.98, CUTS),), input_copies=frozenset(["image", "scaled"]))


def profile(factor: float) -> ClassProfile:
    pairs = zip(NAMES, NAMES[1:], SECONDS, strict=False)
    return ClassProfile("c", {(a, b): Timing(s * factor, s * factor) for a, b, s in pairs})


PROBLEM = EntryProblem(
    MODEL,
    profile(1.0),
    profile(0.05),
    0.001,
    Slo(0.15),
    node="edge-b",
    intermediates=(IntermediateNode("edge-c", profile(0.5), 1e9),),
)


def first_hops(privacy: Privacy) -> set[str | None]:
    options = candidates(replace(PROBLEM, privacy=privacy))
    return {options.tensor(i) for i in range(len(options))}


def test_an_input_or_a_copy_of_it_is_on_no_hop_if_inputs_stay_local() -> None:
    assert first_hops(Privacy.ANY) == {None, "image", "scaled", "image+pool", "pool"}
    assert first_hops(Privacy.INPUT_STAYS_LOCAL) == {None, "pool"}
    options = candidates(replace(PROBLEM, privacy=Privacy.INPUT_STAYS_LOCAL))
    seconds = {options.second_tensor(i) for i in range(len(options))}
    assert seconds <= {None, "pool"}


def test_local_privacy_leaves_local_candidates_alone() -> None:
    options = candidates(replace(PROBLEM, privacy=Privacy.LOCAL))
    assert bool(np.all(options.local))


def test_a_plan_that_privacy_makes_late_says_which_bandwidth_would_be_enough_without_it() -> None:
    plan = plan_entry(replace(PROBLEM, privacy=Privacy.LOCAL))
    assert isinstance(plan, Plan)
    assert not plan.met
    assert 'spec.privacy: "Local"' in plan.reasons[0]
    assert 'with "Any", ' in plan.reasons[0]


def test_a_mode_that_sends_the_input_leaves_nothing_and_the_reason_names_privacy() -> None:
    plan = plan_entry(replace(PROBLEM, privacy=Privacy.INPUT_STAYS_LOCAL, mode=Mode.CLOUD_ONLY))
    assert isinstance(plan, Infeasible)
    assert "spec.privacy InputStaysLocal" in plan.reasons[0]
