import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kopf import Body
from pydantic import ValidationError

from edge_api import KINDS, Duration, InferenceService, Placement, Share, written
from edge_api.inferenceservices import EntryStatus, InferenceServiceStatus
from edge_api.placement_reports import LatencyStatus, LinkStatus, PlacementStatus
from edge_api.quantities import Bandwidth
from edge_api.validation_messages import problems

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]


def example(kind: str) -> dict[str, Any]:
    return next(body for body in EXAMPLES if body["kind"] == kind)


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: body["kind"])
def test_the_documented_examples_are_good_and_come_back_as_they_went_in(body: dict[str, Any]) -> None:
    assert problems(body) == []
    assert KINDS[body["kind"]].model_validate(body).body()["spec"] == body["spec"]


def test_every_kind_has_a_documented_example() -> None:
    assert {body["kind"] for body in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize(
    "address", ["triton:8000", "10.0.0.7:8000", "[fd00::1]:8000", "[::ffff:10.0.0.7]:8000", "[::1]:80"]
)
def test_a_triton_server_is_named_by_a_host_or_by_an_address_of_either_family(address: str) -> None:
    body = example("DevicePool")
    body["spec"]["tritonServers"][0]["httpAddress"] = address
    assert problems(body) == []
    server = KINDS["DevicePool"].model_validate(body).spec.triton_servers[0]  # type: ignore[attr-defined]
    assert server.url.endswith(f"://{address}")


def test_units_become_seconds_bytes_and_bits_inside() -> None:
    service = InferenceService.model_validate(example("InferenceService"))
    assert service.spec.slo.latency == 0.15
    placement = Placement.model_validate(example("Placement"))
    assert [route.min_bandwidth for route in placement.spec.routes] == [3_100_000, 0]


def test_an_object_can_be_read_as_kopf_hands_it_over() -> None:
    service = InferenceService.model_validate(Body(cast("Any", example("InferenceService"))))
    assert service.metadata.name == "digits"
    assert service.spec.model.storage_uri == "store://digits/digits.onnx"


def test_a_status_is_written_with_units_and_without_what_is_not_known() -> None:
    status = PlacementStatus(
        observed_generation=3,
        loaded=True,
        link=LinkStatus(
            state="Up", bandwidth=Bandwidth(3_920_000), measured_at=datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
        ),
        latency=LatencyStatus(p50=Duration(0.041), p95=Duration(0.0774)),
        attainment=Share(0.99312),
    )
    assert written(status) == {
        "observedGeneration": 3,
        "loaded": True,
        "message": "",
        "link": {"state": "Up", "bandwidth": "3.92M", "measuredAt": "2026-11-21T02:00:00Z"},
        "latency": {"p50": "41ms", "p95": "77.4ms"},
        "requests": 0,
        "met": 0,
        "failed": 0,
        "attainment": "0.9931",
    }


def test_a_status_can_be_written_so_that_a_merge_patch_clears_what_is_gone() -> None:
    entry = EntryStatus(node="edge-a", exit="exit5")
    assert written(entry, clearing=True)["bandwidth"] is None
    assert "bandwidth" not in written(entry)


def test_a_status_from_a_newer_version_is_read_without_what_is_new() -> None:
    status = InferenceServiceStatus.model_validate({"url": "http://digits", "eiLevel": 3})
    assert status.url == "http://digits"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda routes: routes.reverse(), "minBandwidth"),
        (
            lambda routes: routes[0]["stages"][1].pop("address"),
            "spec.routes[0].stages[1]: ",
        ),
        (lambda routes: routes.clear(), "at least 1 item"),
    ],
)
def test_a_placement_that_no_runtime_could_carry_out_is_refused(change: Any, words: str) -> None:
    body = example("Placement")
    body = yaml.safe_load(yaml.safe_dump(body))
    change(body["spec"]["routes"])
    found = problems(body)
    assert len(found) == 1
    assert words in found[0]


def test_values_cannot_be_changed_after_they_were_checked() -> None:
    service = InferenceService.model_validate(example("InferenceService"))
    with pytest.raises(ValidationError, match="frozen"):
        service.spec.slo.percentile = 50.0
