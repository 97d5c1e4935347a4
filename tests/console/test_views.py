"""What the page shows is a function of the objects that its viewer may see."""

import copy
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.console.fleet import NAMESPACES, fleet
from edge_console.recent import Samples
from edge_console.rights import Sight
from edge_console.seen import Seen
from edge_console.streams import Page
from edge_console.views import history, pools, service, services, tenants
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.explaining.overlays import Mirrored
from edge_operator.keys import ServiceKey
from edge_operator.observed.mirror import Mirror
from factory import IN_TIME, SERVICES

ALL = Sight("admin", frozenset({"default", "lab"}), pools=True, tenants=True)
ONE = Sight("person", frozenset({"default"}))
FLEET = fleet(60)


def mirrored(bodies: Iterable[Object]) -> Mirrored:
    mirror = Mirror()
    for body in bodies:
        mirror.put(body["kind"], body)
    return Mirrored(mirror)


def page(seen: Seen, **watched: str) -> list[tuple[str, Any]]:
    return Page(Samples(), services.Rows(), watched).updates(seen)


def test_services_are_listed_worst_first(reads: Mirrored) -> None:
    rows = services.rows(Seen(reads, ALL))
    assert [(row["key"], row["state"]) for row in rows] == [
        ("lab/faults", "Missed"),
        ("default/seals", "Missed"),
        ("default/labels", "Met"),
        ("default/digits", "Met"),
        ("lab/gauges", "Met"),
    ]
    assert rows == sorted(rows, key=services.rank)


def test_a_row_has_the_slo_its_budget_and_its_burn_rate(reads: Mirrored) -> None:
    row = next(row for row in services.rows(Seen(reads, ALL)) if row["key"] == "lab/faults")
    assert (row["latency"], row["objective"]) == (0.06, 0.99)
    assert row["attainment"] == pytest.approx(IN_TIME["faults"], abs=0.005)
    assert row["budget"] == 0
    assert row["burn"]["1h"] == pytest.approx(4.5, abs=0.2)
    assert len(row["recent"]) == history.CELLS
    assert (row["ready"], row["entries"]) == (4, 4)


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, "Waiting"),
        ({"Ready": "Unknown", "Progressing": "True"}, "Waiting"),
        ({"Ready": "False", "Planned": "False", "Progressing": "True"}, "NotReady"),
        ({"Ready": "False", "Progressing": "True"}, "Waiting"),
        ({"Ready": "False"}, "NotReady"),
        ({"Ready": "True", "SLOMet": "False", "Degraded": "True"}, "Missed"),
        ({"Ready": "True", "SLOMet": "True", "Degraded": "True"}, "Degraded"),
        ({"Ready": "True", "SLOMet": "Unknown"}, "Idle"),
        ({"Ready": "True", "SLOMet": "True"}, "Met"),
    ],
)
def test_the_state_of_a_service_follows_its_conditions(conditions: dict[str, str], state: str) -> None:
    listed = [{"type": name, "status": status} for name, status in conditions.items()]
    assert services.state_of({"metadata": {}, "status": {"conditions": listed}}) == state


def test_a_service_shows_the_route_table_of_each_entry_node(reads: Mirrored) -> None:
    found = service.service(Seen(reads, ALL), "default", "digits", Samples())
    assert found is not None
    assert [entry["node"] for entry in found["nodes"]] == ["cam-1", "cam-2", "cam-3", "gate"]
    entry = found["nodes"][0]
    published = reads.get(PLACEMENTS, "default", "digits.cam-1")
    assert published is not None
    assert [route["name"] for route in entry["routes"]] == [
        route["name"] for route in published["spec"]["routes"]
    ]
    assert entry["active"] == published["status"]["activeRoute"]
    assert (entry["link"]["peer"], entry["link"]["bandwidth"]) == ("cloud", 3_920_000)
    assert entry["localLinks"][0]["peer"] == "gate"
    assert entry["routes"][-1]["minBandwidth"] == 0


def test_a_condition_carries_the_meaning_of_its_reason_and_what_to_do(reads: Mirrored) -> None:
    found = service.service(Seen(reads, ALL), "lab", "faults", Samples())
    assert found is not None
    missed = next(each for each in found["conditions"] if each["type"] == "SLOMet")
    assert (missed["status"], missed["reason"]) == ("False", "ObjectiveMissed")
    assert missed["meaning"]
    assert missed["fix"]


def test_the_last_hour_ends_at_the_last_report_and_holds_all_its_requests(reads: Mirrored) -> None:
    body = reads.get(INFERENCE_SERVICES, "default", "digits")
    assert body is not None
    slo = body["status"]["slo"]
    cells = history.last_hour(slo["history"])
    assert cells[-1]["to"] - cells[0]["from"] == pytest.approx(3600, abs=1)
    counted = next(each["requests"] for each in slo["windows"] if each["window"] == "1h")
    assert sum(cell["requests"] for cell in cells) == pytest.approx(counted, rel=0.2)
    assert history.last_hour("not a history") == []
    assert history.attainments(None) == []


def test_a_pool_shows_nodes_servers_links_and_where_stages_run(reads: Mirrored) -> None:
    found = pools.pool(Seen(reads, ALL), "factory")
    assert found is not None
    assert {node["name"]: node["tier"] for node in found["nodes"]} == {
        "cam-1": "Device", "cam-2": "Device", "cam-3": "Device", "gate": "Edge",
    }  # fmt: skip
    assert [server["name"] for server in found["servers"]] == ["cloud"]
    links = {(link["from"], link["peer"]): link for link in found["links"]}
    assert links["cam-1", "cloud"]["bandwidth"] == 3_920_000
    assert links["cam-1", "gate"]["bandwidth"] == 410_000_000
    assert links["cam-1", "cloud"]["services"] == sorted(f"{key.namespace}/{key.name}" for key in SERVICES)
    assert len(found["routes"]) == 4 * len(SERVICES)


def test_the_newest_measurement_of_a_link_is_shown(reads: Mirrored) -> None:
    bodies = [copy.deepcopy(body) for body in reads.find(PLACEMENTS) + reads.find(INFERENCE_SERVICES)]
    newer = next(body for body in bodies if body["metadata"]["name"] == "labels.cam-1")
    newer["status"]["link"] |= {"bandwidth": "1M", "measuredAt": "2030-01-01T00:00:00Z"}
    found = pools.pool(Seen(mirrored(bodies), ONE), "factory")
    assert found is not None
    shown = next(link for link in found["links"] if (link["from"], link["peer"]) == ("cam-1", "cloud"))
    assert shown["bandwidth"] == 1_000_000


def test_a_viewer_without_pools_sees_the_nodes_of_its_own_services(reads: Mirrored) -> None:
    found = pools.pool(Seen(reads, ONE), "factory")
    assert found is not None
    assert not found["complete"]
    assert {node["name"] for node in found["nodes"]} == {"cam-1", "cam-2", "cam-3", "gate"}
    assert {node["deviceClass"] for node in found["nodes"]} == {None}
    assert {route["service"].partition("/")[0] for route in found["routes"]} == {"default"}


def test_tenants_show_amounts_as_text_and_as_numbers(reads: Mirrored) -> None:
    found = tenants.tenants(Seen(reads, ALL))
    assert [each["name"] for each in found["tenants"]] == ["lab", "shop"]
    shop = found["tenants"][1]
    cpu = next(each for each in shop["pools"][0]["resources"] if each["kind"] == "cpu")
    assert cpu["numbers"]["used"] == float(cpu["used"])
    assert tenants.tenants(Seen(reads, ONE)) == {"visible": False, "tenants": []}


def everything(seen: Seen) -> list[tuple[str, Any]]:
    """All that a page can be sent, with each service and each pool opened."""
    found = page(seen)
    for body in FLEET:
        if body["kind"] == "InferenceService":
            name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            found += [event for event in page(seen, service=name) if event[0] == "service"]
        if body["kind"] == "DevicePool":
            found += [event for event in page(seen, pool=body["metadata"]["name"]) if event[0] == "pool"]
    return found


@settings(max_examples=25, deadline=None)
@given(
    seen=st.frozensets(st.sampled_from(NAMESPACES)),
    sees_pools=st.booleans(),
    sees_tenants=st.booleans(),
)
def test_no_view_and_no_stream_depends_on_what_is_forbidden(
    seen: frozenset[str], sees_pools: bool, sees_tenants: bool
) -> None:
    sight = Sight("person", seen, pools=sees_pools, tenants=sees_tenants)
    kinds = {"InferenceService", "Placement"}
    kinds_of_cluster = {"DevicePool": sees_pools, "Node": sees_pools, "Tenant": sees_tenants}
    allowed = [
        body
        for body in FLEET
        if (body["kind"] in kinds and body["metadata"]["namespace"] in seen)
        or kinds_of_cluster.get(body["kind"], False)
    ]
    shown = everything(Seen(mirrored(FLEET), sight))
    assert shown == everything(Seen(mirrored(allowed), sight))
    if not sees_tenants:
        text = str(shown)
        assert [name for name in NAMESPACES if name not in seen and name in text] == []


def test_a_page_gets_the_rows_that_changed_and_the_keys_that_are_gone(reads: Mirrored) -> None:
    opened = Page(Samples(), services.Rows(), {})
    first = dict(opened.updates(Seen(reads, ALL)))
    assert first["services"]["whole"]
    assert len(first["services"]["rows"]) == len(SERVICES)
    assert opened.updates(Seen(reads, ALL)) == []
    bodies = [copy.deepcopy(body) for body in reads.find(INFERENCE_SERVICES)]
    changed = next(body for body in bodies if body["metadata"]["name"] == "gauges")
    changed["status"]["slo"]["p95"] = "100ms"
    changed["metadata"]["resourceVersion"] = "99999999"
    bodies = [body for body in bodies if body["metadata"]["name"] != "seals"]
    bodies += reads.find(PLACEMENTS)
    second = dict(opened.updates(Seen(mirrored(bodies), ALL)))["services"]
    assert [row["key"] for row in second["rows"]] == ["lab/gauges"]
    assert second["rows"][0]["p95"] == 0.1
    assert second["gone"] == ["default/seals"]


def test_a_namespace_that_becomes_hidden_leaves_the_page(reads: Mirrored) -> None:
    opened = Page(Samples(), services.Rows(), {"service": "lab/faults"})
    before = dict(opened.updates(Seen(reads, ALL)))
    assert before["service"]["value"]["key"] == "lab/faults"
    after = dict(opened.updates(Seen(reads, ONE)))
    assert after["services"]["gone"] == ["lab/faults", "lab/gauges"]
    assert after["service"] == {"value": None}


def test_the_rows_of_unchanged_services_are_made_once(reads: Mirrored) -> None:
    rows = services.Rows()
    first = services.rows(Seen(reads, ALL), rows)
    again = services.rows(Seen(reads, ALL), rows)
    assert all(one is other for one, other in zip(first, again, strict=True))


def test_an_object_of_another_version_that_cannot_be_read_does_not_break_the_page(reads: Mirrored) -> None:
    body = copy.deepcopy(reads.get(INFERENCE_SERVICES, "default", "digits"))
    assert body is not None
    body["status"]["slo"] = {"p95": "soon", "errorBudgetRemaining": "much", "history": "1,2"}
    row = services.row(body)
    assert (row["p95"], row["budget"], row["recent"]) == (None, None, [])


def test_samples_of_the_last_hour_are_kept_by_entry_node(reads: Mirrored) -> None:
    samples = Samples(placements=2)
    body = reads.get(PLACEMENTS, "default", "digits.cam-1")
    assert body is not None
    for minute in range(70):
        samples.take(body, 60.0 * minute)
    kept = samples.of("default/digits.cam-1")
    assert [kept[0]["at"], kept[-1]["at"], len(kept)] == [600.0, 4140.0, 60]
    assert kept[0]["bandwidth"] == 3_920_000
    others = [each for each in reads.find(PLACEMENTS) if each is not body][:2]
    for each in others:
        samples.take(each, 5000.0)
    assert samples.of("default/digits.cam-1") == []


def test_a_service_without_requests_has_no_attainment() -> None:
    key = ServiceKey("default", "new")
    body = {
        "metadata": {"namespace": key.namespace, "name": key.name},
        "spec": {"slo": {"latency": "10ms"}, "devicePool": "factory", "model": {}},
    }
    row = services.row(body)
    assert (row["state"], row["attainment"], row["objective"], row["recent"]) == ("Waiting", None, 0.95, [])
