"""What the second act says about each tenant follows from its requests."""

import json
from dataclasses import replace
from typing import Any

import pytest

from demo.sharing.results import PhaseLoad, SharingResult
from demo.sharing.summaries import BIN_SECONDS, COLUMNS, complaints, document, rows, sentences
from demo.statistics import RequestResult
from messages import mentions
from sharing_results import LISTED, TERMS, sharing_result

COUNTS = ("full", "cheaper", "refused", "lost")


def report() -> Any:
    return json.loads(json.dumps(document(sharing_result())))


def with_lost(result: SharingResult) -> SharingResult:
    """The same with a request of quiet that got no response in the last phase."""
    *others, last = result.phases
    lost = RequestResult("edge-b", last.began + 1, 5.0, error="no response within 5 s")
    results = {**last.results, "quiet": [*last.results["quiet"], lost]}
    return replace(result, phases=[*others, PhaseLoad(last.phase, last.began, results)])


def test_requests_are_counted_by_outcome() -> None:
    _, during, _ = report()["phases"]
    noisy = during["tenants"]["noisy"]
    assert [noisy[name] for name in ("requests", *COUNTS)] == [160, 40, 100, 20, 0]
    assert noisy["slo_attainment"] == pytest.approx(140 / 160)
    quiet = during["tenants"]["quiet"]
    assert [quiet[name] for name in ("requests", *COUNTS)] == [16, 16, 0, 0, 0]
    assert quiet["slo_attainment"] == pytest.approx(15 / 16, abs=1e-4)


def test_the_report_has_the_terms_and_what_kubectl_listed() -> None:
    found = report()
    assert (found["quiet"], found["noisy"], found["factor"]) == ("quiet", "noisy", 10)
    assert (found["slo_s"], found["declared_rate"], found["nodes"]) == (TERMS.slo, TERMS.rate, ["edge-b"])
    assert found["kubectl_get_tenants"] == LISTED
    assert [(phase["name"], phase["began_s"]) for phase in found["phases"]] == [
        ("before", 0.0),
        ("10x", 4.0),
        ("after", 12.0),
    ]


def test_the_series_has_every_request_once() -> None:
    found = report()
    for name in TERMS.tenants:
        series = found["series"][name]
        total = sum(phase["tenants"][name]["requests"] for phase in found["phases"])
        assert sum(sum(series[each]) for each in COUNTS) == total
        assert len({len(values) for values in series.values()}) == 1
    assert found["series"]["noisy"]["cheaper"][: int(4 / BIN_SECONDS)] == [0, 0]


def test_the_sentences_have_the_quiet_tenants_attainment_before_during_and_after() -> None:
    quiet, noisy = sentences(report())
    assert mentions(
        "quiet", "800 ms", "100.0 % before", "93.8 % while noisy", "10 times", "100.0 % after"
    ).search(quiet)
    assert mentions(
        "160 requests", "25.0 % by the full model", "62.5 % by a cheaper exit", "12.5 % refused"
    ).search(noisy)
    assert "without a response" not in noisy


def test_a_missed_slo_is_a_result_and_no_failure() -> None:
    assert complaints(report()) == []


def test_a_lost_request_is_a_failure_with_its_tenant_and_phase() -> None:
    (complaint,) = complaints(document(with_lost(sharing_result())))
    assert mentions("quiet", "1 of 5", "after").search(complaint)


def test_requests_beyond_the_declared_rate_can_be_lost() -> None:
    result = sharing_result()
    before, during, after = result.phases
    lost = RequestResult("edge-b", during.began, 5.0, error="no response within 5 s")
    results = {**during.results, "noisy": [*during.results["noisy"], lost]}
    found = document(replace(result, phases=[before, replace(during, results=results), after]))
    assert complaints(found) == []
    assert "% without a response" in sentences(found)[1]


def test_a_second_act_that_did_not_complete_is_a_failure_with_its_reason() -> None:
    broken = document(replace(sharing_result(), error="edge-b has no memory"))
    (complaint,) = complaints(broken)
    assert complaint.endswith("edge-b has no memory")
    assert sentences(broken) == []
    assert sentences(document(replace(sharing_result(), phases=()))) == []


def test_each_phase_has_a_row_for_each_tenant() -> None:
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows(sharing_result())]
    assert [(row["phase"], row["tenant"]) for row in found[:4]] == [
        ("before", "quiet"),
        ("before", "noisy"),
        ("10x", "quiet"),
        ("10x", "noisy"),
    ]
    assert (found[3]["sent/s"], found[3]["cheaper exit"], found[3]["refused"]) == ("20.0", "100", "20")
    assert found[2]["SLO met"] == "93.8 %"
