import json

import pytest

from benchmarks.faults.outcomes import Away, Run, broken, counted, missing, read, rows
from demo.statistics import RequestResult

NOTHING: dict[str, frozenset[str]] = {}


def run(fault: str = "link cut", commit: str = "abc", **fields: object) -> Run:
    known = {"requests": 10, "failed": 0, "away": 0, "late": 0, "converged_s": 2.0, "broken": ()}
    return Run(fault, commit, **{**known, **fields})  # type: ignore[arg-type]


def answer(
    sent: float, latency: float = 0.1, node: str = "edge-a", error: str | None = None
) -> RequestResult:
    return RequestResult(node, sent, latency, error=error)


def test_requests_that_were_open_while_their_node_was_off_are_away_and_nothing_else() -> None:
    requests = [
        answer(1.0),
        answer(1.9, 0.5, error="reset"),  # open when the power went
        answer(3.0, error="refused"),
        answer(5.5, error="refused"),  # after its return
        answer(3.0, 0.4, node="edge-b"),
    ]
    counts = counted(requests, [Away("edge-a", 2.0, 5.0)], slo=0.3)

    assert counts == {"requests": 5, "away": 2, "failed": 1, "late": 1}


def test_every_invariant_that_does_not_hold_is_named_with_what_broke_it() -> None:
    before = {"placements": frozenset({"digits.edge-a"}), "tails": frozenset({"t1"})}
    after = {"placements": frozenset({"digits.edge-a", "old.edge-a"}), "tails": frozenset[str]()}
    found = broken(["edge-a: reset"], before, after, 61.0, ["Memory of edge-a: 3 of 2"])

    assert [sentence.split(":")[0] for sentence in found] == [
        "1 requests failed where a local route exists",
        "settled after 60 s at most",
        "placements that are left",
        "tails that are missing",
        "Memory of edge-a",
    ]
    assert "old.edge-a" in found[2]


def test_a_run_that_never_converges_is_broken_though_nothing_else_is() -> None:
    assert len(broken([], NOTHING, NOTHING, None, [])) == 1
    assert broken([], NOTHING, NOTHING, 59.0, []) == ()


def test_a_row_sums_its_runs_and_is_held_only_if_every_run_was() -> None:
    found = rows([run(late=2), run(failed=1, broken=("x",), converged_s=7.25), run("Triton hung")])

    assert found[0] | {"fault": ""} == {
        "fault": "",
        "runs": 2,
        "requests": 20,
        "failed": 1,
        "away": 0,
        "late": 2,
        "converged_s": 7.2,
        "held": False,
        "broken": ["x"],
    }
    assert (found[1]["fault"], found[1]["held"]) == ("Triton hung", True)


def test_the_time_of_a_row_is_unknown_if_one_run_never_converged() -> None:
    assert rows([run(), run(converged_s=None)])[0]["converged_s"] is None


def test_only_missing_runs_are_added_and_those_of_another_commit_do_not_count() -> None:
    had = [run(), run("Triton hung", commit="older")]

    assert missing(had, "abc", ["link cut", "Triton hung"], 2) == ["Triton hung", "link cut", "Triton hung"]
    assert missing(had, "abc", ["link cut"], 1) == []


def test_a_line_gives_the_same_run_again_and_a_damaged_one_is_named() -> None:
    written = run(broken=("x",))

    assert read([written.line(), ""]) == [written]
    with pytest.raises(ValueError, match="line 2 "):
        read([written.line(), json.dumps({"fault": "link cut"})])
