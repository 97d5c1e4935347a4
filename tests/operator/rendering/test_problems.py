"""From measurements to a planning problem, and the round trip that a plan assumes."""

import pytest

from edge_api import ModelProfile
from edge_api.model_sources import ModelSource
from edge_api.objects import written
from edge_operator.pool import manifests, recorded
from edge_operator.store_answers import DeviceProfile, ModelCard

PROFILE = DeviceProfile.model_validate(
    {
        "model": "sha256:" + "a" * 64,
        "deviceClass": "camera",
        "node": "edge-b",
        "segments": [
            {"from": "image", "to": "logits", "meanSeconds": 0.0123456, "p95Seconds": 0.02, "runs": 7}
        ],
        "exits": [{"exit": "final", "meanSeconds": 0.0123456, "p95Seconds": 0.02, "runs": 7}],
    }
)


CARD = ModelCard.model_validate(
    {
        "digest": PROFILE.model,
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 4]}],
        "exits": [
            {
                "name": "final",
                "outputs": ["logits"],
                "accuracy": 0.9,
                "tensors": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
                "cuts": [{"tensor": "image", "bytes": 16}],
            }
        ],
    }
)


def test_a_class_is_planned_with_what_was_measured() -> None:
    profile = manifests.class_profile(PROFILE)
    assert profile.segments["image", "logits"].mean == 0.0123456
    assert profile.exits["final"].p95 == 0.02


def test_a_model_profile_keeps_the_sizes_that_were_assumed() -> None:
    assumed = [
        {"input": "image", "dimension": 0, "symbol": "N", "size": 1},
        {"input": "image", "dimension": 2, "symbol": None, "size": 1},
    ]
    for told in (assumed, []):
        measured = DeviceProfile.model_validate({**PROFILE.model_dump(by_alias=True), "assumed": told})
        spec = manifests.as_written(manifests.model_profile("digits", CARD, [measured]))
        assert [a.model_dump() for a in spec.device_classes[0].assumed or ()] == told
        assert manifests.device_profiles(spec)["camera"].assumed == measured.assumed


REQUESTS = {
    "processors": 0.25,
    "receiveSeconds": 0.0002,
    "receiveSecondsPerByte": 3e-10,
    "hopSeconds": 0.0001,
    "hopSecondsPerByte": 2e-10,
    "respondSecondsPerByte": 5e-10,
    "replySecondsPerByte": 4e-10,
}


def test_requests_take_of_a_node_what_they_take_of_the_processors_that_it_has() -> None:
    measured = DeviceProfile.model_validate({**PROFILE.model_dump(by_alias=True), "requests": REQUESTS})
    planned = manifests.class_profile(measured).requests
    assert planned is not None
    assert planned.of(1e6, 0.0) == pytest.approx(4 * (0.0002 + 0.0003))
    assert planned.of(0.0, 1e6) == pytest.approx(4 * (0.0002 + 0.0001 + 0.0002))
    assert planned.of(0.0, 1.0, 1e6) == pytest.approx(4 * (0.0002 + 0.0001 + 0.0005 + 0.0004))
    assert manifests.class_profile(PROFILE).requests is None


def test_a_byte_of_a_response_counts_like_one_of_a_request_where_responses_were_not_measured() -> None:
    earlier = {name: value for name, value in REQUESTS.items() if not name.startswith(("respond", "reply"))}
    measured = DeviceProfile.model_validate({**PROFILE.model_dump(by_alias=True), "requests": earlier})
    planned = manifests.class_profile(measured).requests
    assert planned is not None
    assert (planned.respond_byte, planned.reply_byte) == (planned.receive_byte, planned.hop_byte)


def test_a_model_profile_keeps_the_processor_time_of_requests() -> None:
    measured = DeviceProfile.model_validate({**PROFILE.model_dump(by_alias=True), "requests": REQUESTS})
    spec = manifests.as_written(manifests.model_profile("digits", CARD, [measured]))
    found = spec.device_classes[0].requests
    assert found is not None
    assert written(found) == {
        "processors": 0.25,
        "receive": "200µs",
        "receiveMegabyte": "300µs",
        "hop": "100µs",
        "hopMegabyte": "200µs",
        "respondMegabyte": "500µs",
        "replyMegabyte": "400µs",
    }
    assert manifests.device_profiles(spec)["camera"].requests == measured.requests
    without = manifests.as_written(manifests.model_profile("digits", CARD, [PROFILE]))
    assert manifests.device_profiles(without)["camera"].requests is None


@pytest.mark.parametrize(
    ("planned", "measured", "expected"),
    [
        (None, None, 0.002),  # a LAN until something is known
        (None, 0.003, 0.002),
        (None, 0.040, 0.040),
        (0.040, 0.045, 0.040),  # noise
        (0.040, 0.058, 0.040),
        (0.040, 0.061, 0.061),
        (0.040, None, 0.040),  # the link is down: no news
        (0.040, 0.001, 0.001),
    ],
)
def test_a_table_is_rebuilt_for_a_clearly_different_round_trip_only(
    planned: float | None, measured: float | None, expected: float
) -> None:
    assert manifests.planned_rtt(planned, measured) == expected


def test_a_model_profile_keeps_the_size_of_the_model() -> None:
    sized = CARD.model_copy(update={"size": 412_345})
    source = ModelSource(storage_uri="store://digits.onnx")
    for metadata, size in ((sized, 412_345), (CARD, None)):
        spec = manifests.as_written(manifests.model_profile("digits", metadata, [PROFILE]))
        notes = recorded.annotations(source, frozenset(), None, spec)
        profile = ModelProfile.model_validate({"metadata": {"name": "a", "annotations": notes}, "spec": spec})
        assert profile.spec.model.size == size
        found = recorded.card_of(profile, source)
        assert found is not None
        assert found.size == (size or 0)
