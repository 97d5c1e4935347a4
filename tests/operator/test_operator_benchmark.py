"""The pure parts of `make bench-operator`."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.operator import answers, fleet, histograms
from benchmarks.operator.observed import Observed
from benchmarks.operator.requests import Log, Request, read
from edge_api.devicepools import DevicePoolSpec
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.tensors import Slice
from edge_operator.store_answers import DeviceProfile, LayerGraph, ModelCard

PORT = 8000


def audited(verb: str, resource: str, *, query: str = "", code: int = 200) -> str:
    name, _, subresource = resource.partition("/")
    return json.dumps(
        {
            "user": {"username": "operator-a"},
            "verb": verb,
            "requestURI": f"/apis/x/{name}{query}",
            "objectRef": {"resource": name, "subresource": subresource},
            "requestReceivedTimestamp": "2026-03-01T12:00:00.250000Z",
            "responseStatus": {"code": code},
        }
    )


@pytest.mark.parametrize("services", [1000, 10_000])
def test_every_service_has_two_entry_nodes_in_its_pool(services: int) -> None:
    scale = fleet.Scale(services)
    labels = [each["metadata"]["labels"] for each in fleet.nodes(scale)]
    specs = [InferenceServiceSpec.model_validate(each["spec"]) for each in fleet.services(scale)]
    at = Counter(tuple(sorted((k, v) for k, v in each.items() if k.startswith("bench/"))) for each in labels)
    assert len(specs) == services
    for spec in specs:
        assert spec.entry_nodes is not None
        assert spec.entry_nodes.node_selector is not None
        assert at[tuple(sorted(spec.entry_nodes.node_selector.items()))] == 2
    assert {spec.device_pool for spec in specs} == {f"pool-{number}" for number in range(20)}


def test_the_services_of_a_namespace_share_nodes() -> None:
    services = list(fleet.services(fleet.Scale(10_000)))
    keys = {(s["metadata"]["namespace"], s["metadata"]["name"]) for s in services}
    runtimes = {
        (s["metadata"]["namespace"], *s["spec"]["entryNodes"]["nodeSelector"].values()) for s in services
    }
    assert (len(keys), 2 * len(runtimes)) == (10_000, 5000)


def test_each_pool_has_a_triton_server_of_its_own() -> None:
    specs = [DevicePoolSpec.model_validate(p["spec"]) for p in fleet.pools(fleet.Scale(1000), PORT)]
    assert len({spec.triton_servers[0].http_address for spec in specs}) == len(specs) == 20


@pytest.mark.parametrize("change", [0, 7, 2500])
def test_a_deadline_tells_how_often_it_was_changed(change: int) -> None:
    assert fleet.changes_of(fleet.latency(change)) == change
    assert fleet.changes_of("1.2s") == 1000


def test_the_stand_ins_answer_as_the_operator_reads_it() -> None:
    card = ModelCard.model_validate(answers.card({"storageUri": "store://model-1/model.onnx"}))
    profile = DeviceProfile.model_validate(answers.profile(card.digest, "s", "cloud"))
    assert card.digest != answers.card({"storageUri": "store://model-2/model.onnx"})["digest"]
    assert {each.end for each in profile.segments} >= {cut.tensor for cut in card.exits[-1].cuts[1:]}
    assert LayerGraph.model_validate(answers.layers()).layers == ()
    Slice.model_validate(answers.piece({"model": card.digest, "inputs": ["image"], "outputs": ["pool1"]}))


def test_what_nothing_required_is_counted_at_the_servers() -> None:
    servers = answers.Servers()
    request = {"parameters": {"config": json.dumps({"parameters": {"term": "1"}})}}
    servers.load("a:1", "tail", request)
    servers.load("b:1", "tail", request)
    assert servers.found()["double"] == 0
    servers.load("a:1", "tail", request)
    servers.unload("a:1", "tail")
    servers.unload("a:1", "tail")
    assert servers.found() == {"models": ["b:1 tail"], "loads": 3, "unloads": 2, "double": 2}


def test_a_request_is_read_from_the_audit_log() -> None:
    found = read(audited("patch", "placements", query="?fieldManager=x&force=true"))
    assert found == Request("operator-a", "patch", "placements", 1772366400.25, 200, applies=True)
    status = read(audited("patch", "inferenceservices/status", code=409))
    assert status is not None
    assert (status.resource, status.code, status.writes) == ("inferenceservices/status", 409, True)


@pytest.mark.parametrize(
    ("verb", "resource", "counts", "writes"),
    [
        ("update", "leases", False, False),
        ("watch", "nodes", False, False),
        ("get", "services", True, False),
        ("create", "events", True, True),
    ],
)
def test_renewals_and_watches_are_not_the_operators_work(
    verb: str, resource: str, counts: bool, writes: bool
) -> None:
    found = read(audited(verb, resource))
    assert found is not None
    assert (found.counts, found.writes) == (counts, writes)


def test_a_line_that_is_being_written_is_read_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = Log(path)
    assert log.update() == []
    line = audited("create", "events")
    path.write_text(line + "\n" + line[:20])
    assert len(log.update()) == 1
    path.write_text(line + "\n" + line + "\n")
    assert len(log.update()) == 2


SCRAPED = """\
# TYPE d_seconds histogram
d_seconds_bucket{kind="pool",le="0.5"} 2.0
d_seconds_bucket{kind="pool",le="1.0"} 4.0
d_seconds_bucket{kind="pool",le="+Inf"} 4.0
d_seconds_bucket{kind="namespace",le="0.5"} 0.0
d_seconds_bucket{kind="namespace",le="1.0"} 0.0
d_seconds_bucket{kind="namespace",le="+Inf"} 4.0
other_bucket{le="0.5"} 9.0
"""


def test_quantiles_are_those_of_histogram_quantile() -> None:
    found = histograms.buckets(SCRAPED, "d_seconds")
    assert found == {0.5: 2.0, 1.0: 4.0, math.inf: 8.0}
    assert histograms.quantile(found, 0.25) == 0.5
    assert histograms.quantile(found, 0.375) == 0.75
    assert histograms.quantile(found, 0.99) == 1.0
    assert histograms.quantile(histograms.buckets(SCRAPED, "d_seconds", 'kind="pool"'), 0.5) == 0.5
    assert histograms.quantile({}, 0.5) is None
    assert histograms.since(found, {0.5: 1.0}) == {0.5: 1.0, 1.0: 4.0, math.inf: 8.0}


def placement(node: str, change: int, generation: int = 1) -> fleet.Document:
    stage = {"runtime": "Triton", "address": "http://127.0.1.1:8000", "model": "tail"}
    return {
        "metadata": {"namespace": "team-1", "name": f"service-1.{node}", "generation": generation},
        "spec": {
            "service": "service-1",
            "slo": {"latency": fleet.latency(change)},
            "routes": [{"stages": [{"runtime": "Edge"}, stage]}],
        },
    }


def test_a_change_has_arrived_once_both_placements_have_it_or_a_later_one() -> None:
    seen, key = Observed(), ("team-1", "service-1")
    for node in ("a", "b"):
        seen.placement(placement(node, 0), 1.0)
    seen.sent(key, 1, 10.0)
    seen.sent(key, 2, 11.0)
    seen.placement(placement("a", 2, 2), 12.0)
    assert (seen.lags, seen.waiting, seen.under_way) == ([], 2, 1)
    seen.placement(placement("b", 1, 2), 12.5)
    assert (seen.lags, seen.waiting, seen.under_way) == ([2.5], 1, 1)
    seen.placement(placement("b", 2, 3), 13.0)
    assert (seen.lags, seen.waiting, seen.under_way) == ([2.5, 2.0], 0, 0)
    assert seen.used == {"127.0.1.1:8000 tail"}


def test_a_report_of_a_runtime_does_not_count_as_a_change_of_its_placement() -> None:
    seen, body = Observed(), placement("a", 0)
    seen.placement(body, 1.0)
    seen.placement(body | {"status": {"loaded": True}}, 2.0)
    assert seen.placement_changes == 1


def test_a_service_is_settled_if_it_is_ready_by_its_present_spec() -> None:
    seen = Observed()
    body = {
        "metadata": {"namespace": "team-1", "name": "service-1", "generation": 2},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    seen.service(body)
    assert seen.ready == 0
    seen.service(body | {"status": body["status"] | {"observedGeneration": 2}})
    assert seen.ready == 1
