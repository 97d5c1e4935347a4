"""`ei doctor` finds each planted fault by its code, and nothing in a healthy cluster.

The states are made up of objects as API servers have them: these tests are about deciding alone.
"""

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.experience.faults import PLANTED
from doctor_states import (
    EVERYTHING,
    INSTALLATION,
    NOW,
    claim,
    condition,
    definitions,
    deployment,
    healthy,
    lease,
    node_caches,
    older,
    placement,
    pod,
    prometheus,
    refused_by_quota,
    replicas,
    service,
    store_deployment,
    webhook_configuration,
    with_objects,
    with_server,
)
from edge_api import reasons
from edge_cli.commands.doctor import text
from edge_cli.doctor import kubernetes
from edge_cli.doctor.findings import SUPPRESS, Report, examined
from edge_cli.doctor.registry import CATEGORIES, CHECKS
from edge_cli.doctor.states import CertificateSeen, ClusterState, Right
from edge_cli.doctor.triton import flag
from messages import mentions
from operator_objects import node_body, pool_body

ROOT = Path(__file__).resolve().parents[2]
Plant = Callable[[ClusterState], ClusterState]
FAULTS: Mapping[str, tuple[str, Plant, tuple[str, ...]]] = {
    "Triton without explicit control": (
        "EI0302",
        lambda state: with_server(state, arguments=("tritonserver", "--strict-readiness=false")),
        ("cloud", "--model-control-mode=none"),
    ),
    "Triton with strict readiness": (
        "EI0303",
        lambda state: with_server(
            state, arguments=("sh", "-c", "tritonserver --model-control-mode explicit")
        ),
        ("cloud", "--strict-readiness"),
    ),
    "Triton unreachable": (
        "EI0301",
        lambda state: with_server(state, reachable=False, said="connection refused"),
        ("cloud", "http://triton.test:8000", "connection refused"),
    ),
    "Triton with a foreign mark": (
        "EI0304",
        lambda state: with_server(state, marks={f"edge-{INSTALLATION}-x": {"owner": "somebody"}}),
        ("cloud", f"edge-{INSTALLATION}-x", "somebody"),
    ),
    "Triton with its control open": (
        "EI0305",
        lambda state: with_server(state, control_open=True),
        ("factory", "cloud"),
    ),
    "an image missing on a node": (
        "EI0501",
        lambda state: with_objects(state, Pod=(pod("ErrImageNeverPull"),)),
        ("edge-runtime-cam-1-x", "cam-1", "r.test/edge:1", "ErrImageNeverPull"),
    ),
    "the store's PVC pending": (
        "EI0205",
        lambda state: with_objects(state, PersistentVolumeClaim=(claim("Pending"),), StorageClass=()),
        ("edge-intelligence/model-store", "Pending", "fast"),
    ),
    "a missing right": (
        "EI0204",
        lambda state: replace(
            state, rights={**state.rights, Right("patch", "edge-intelligence.io", "placements"): False}
        ),
        ("edge-intelligence/edge-operator", "patch", "placements.edge-intelligence.io"),
    ),
    "CRDs older than the operator": (
        "EI0202",
        lambda state: with_objects(state, CustomResourceDefinition=older()),
        ("inferenceservices.edge-intelligence.io", "spec.model.samples"),
    ),
    "rules that no Prometheus selects": (
        "EI0601",
        lambda state: with_objects(
            state,
            Prometheus=(prometheus(**EVERYTHING | {"ruleSelector": {"matchLabels": {"release": "kps"}}}),),
        ),
        ("PrometheusRule edge-intelligence/edge", "monitoring/k8s", "release=kps"),
    ),
    "clock skew": (
        "EI0103",
        lambda state: replace(state, clocks={"node cam-1": 45.0}),
        ("node cam-1", "45"),
    ),
    "a node without a class": (
        "EI0401",
        lambda state: with_objects(
            state, Node=(*state.objects["Node"], {**node_body("cam-9", "unknown"), "spec": {}})
        ),
        ("Node cam-9", "factory"),
    ),
    "a link below every route": (
        "EI0402",
        lambda state: with_objects(state, Placement=(placement("500k"),)),
        ("cam-1", "500 kbit/s", "2 Mbit/s"),
    ),
    "an expired certificate": (
        "EI0207",
        lambda state: replace(
            state,
            certificates=(
                CertificateSeen(
                    "Secret shop/edge-runtime-tls, tls.crt",
                    NOW - datetime.timedelta(days=90),
                    NOW - datetime.timedelta(hours=1),
                ),
            ),
        ),
        ("shop/edge-runtime-tls", "2026-03-01 11:00"),
    ),
    "a ResourceQuota in the way": (
        "EI0502",
        lambda state: with_objects(state, Deployment=(*state.objects["Deployment"], refused_by_quota())),
        ("default/edge-runtime-cam-1", "small"),
    ),
}


def report(state: ClusterState, **more: Any) -> Report:
    return examined(state, CHECKS, **more)


def bad(found: Report) -> dict[str, str]:
    return {each.code: each.findings[0].message for each in found.checks if each.findings}


def test_of_nodes_with_runtimes_those_without_a_ready_agent_of_the_cache_are_named() -> None:
    found = report(with_objects(healthy(), **node_caches(cam1="True", cam2="False")))
    assert mentions("Deployment edge-intelligence/edge-operator", "cam2").search(bad(found)["EI0213"])
    assert "cam1" not in bad(found)["EI0213"]
    found = report(with_objects(healthy(), **node_caches(cam1="True", cam2="True")))
    assert "EI0213" not in bad(found)


def test_in_a_healthy_cluster_every_check_passes() -> None:
    found = report(healthy())
    assert bad(found) == {}
    assert found.healthy
    skipped = {each.code: each.skipped for each in found.checks if each.result == "skipped"}
    assert set(skipped) == {"EI0104"}


@pytest.mark.parametrize(("code", "plant", "parts"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found_alone_and_named(code: str, plant: Plant, parts: tuple[str, ...]) -> None:
    found = report(plant(healthy()))
    wrong = bad(found)
    expected = {code} | ({"EI0105"} if code == "EI0205" else set())  # there, no class is left at all
    assert set(wrong) == expected
    assert all(part in wrong[code] for part in parts), wrong[code]
    check = next(each for each in found.checks if each.code == code)
    assert all(each.fix for each in check.findings)
    assert found.healthy == (check.result != "error")


def test_fifteen_faults_are_planted_here_and_on_the_cluster() -> None:
    codes = {name: code for name, (code, _, _) in FAULTS.items()}
    assert {code: name for name, code in codes.items()} == PLANTED
    assert len(codes) == len(PLANTED) == 15


def _loaded_late(took: str) -> dict[str, Any]:
    body = placement("10M")
    spec, status = body["spec"] | {"idle": {"after": "10m"}}, body["status"] | {"loadTime": took}
    return {**body, "spec": spec, "status": status}


OTHER_FAULTS: Mapping[str, tuple[str, Plant]] = {
    "no API server": ("EI0101", lambda state: replace(state, unreachable="no route to host", version=None)),
    "an old Kubernetes": ("EI0102", lambda state: replace(state, version=(1, 27))),
    "a clock that is behind": ("EI0103", lambda state: replace(state, clocks={"this machine": -90.0})),
    "an account without the right to install": (
        "EI0104",
        lambda state: replace(state, own_rights=dict.fromkeys(kubernetes.INSTALLING, False)),
    ),
    "no default StorageClass": ("EI0105", lambda state: with_objects(state, StorageClass=())),
    "no CRDs": ("EI0201", lambda state: with_objects(state, CustomResourceDefinition=definitions()[1:])),
    "no operator": ("EI0203", lambda state: with_objects(state, Deployment=(store_deployment(),))),
    "an operator without a ready pod": (
        "EI0203",
        lambda state: with_objects(
            state, Deployment=({**deployment("edge-operator"), "status": {}}, store_deployment())
        ),
    ),
    "no store": ("EI0206", lambda state: with_objects(state, Deployment=(deployment("edge-operator"),))),
    "a certificate near its end": (
        "EI0208",
        lambda state: replace(
            state,
            certificates=(
                CertificateSeen("a", NOW - datetime.timedelta(days=90), NOW + datetime.timedelta(days=1)),
            ),
        ),
    ),
    "a webhook that the API server does not trust": (
        "EI0212",
        lambda state: with_objects(
            state,
            ValidatingWebhookConfiguration=(webhook_configuration(),),
            Deployment=(*state.objects["Deployment"], deployment("edge-admission")),
        ),
    ),
    "a webhook without a pod": (
        "EI0212",
        lambda state: with_objects(
            state,
            ValidatingWebhookConfiguration=(webhook_configuration("QUJD"),),
            Deployment=(*state.objects["Deployment"], deployment("edge-admission") | {"status": {}}),
        ),
    ),
    "a webhook without its Deployment": (
        "EI0212",
        lambda state: with_objects(state, ValidatingWebhookConfiguration=(webhook_configuration("QUJD"),)),
    ),
    "a node without an agent of the cache": (
        "EI0213",
        lambda state: with_objects(state, **node_caches(cam1="True", cam2="False")),
    ),
    "another version of this program": ("EI0209", lambda state: replace(state, program="0.2.0")),
    "a replica of the operator that is not ready": (
        "EI0210",
        lambda state: with_objects(state, Deployment=(replicas(1, 2), store_deployment())),
    ),
    "a Lease that was given up": ("EI0211", lambda state: with_objects(state, Lease=(lease(""),))),
    "a Lease that no replica renews": (
        "EI0211",
        lambda state: with_objects(state, Lease=(lease(renewed=60),)),
    ),
    "no Lease": ("EI0211", lambda state: with_objects(state, Lease=())),
    "Triton unreachable for the operator": (
        "EI0301",
        lambda state: with_objects(
            state,
            InferenceService=(service(condition("Placed", "Unknown", reasons.TRITON_UNREACHABLE, "cloud")),),
        ),
    ),
    "control that the operator found open": (
        "EI0305",
        lambda state: with_objects(
            with_server(state, control_open=None),
            DevicePool=(
                pool_body()
                | {"status": {"conditions": [condition("ControlOpen", "True", "X", "over gRPC")]}},
            ),
        ),
    ),
    "a pool that is not ready": (
        "EI0403",
        lambda state: with_objects(
            state,
            DevicePool=(
                pool_body()
                | {"status": {"conditions": [condition("Ready", "False", reasons.NO_NODES, "none")]}},
            ),
        ),
    ),
    "a link that is down": (
        "EI0404",
        lambda state: with_objects(state, Placement=(placement("20M", "Down"),)),
    ),
    "a node that is not Ready": (
        "EI0405",
        lambda state: with_objects(
            state,
            Node=({**node_body("cam-1", "camera", ready=False), "spec": {}}, *state.objects["Node"][1:]),
            DevicePool=(pool_body() | {"status": {"nodes": [{"name": "cam-1", "deviceClass": "camera"}]}},),
        ),
    ),
    "nodes without the unit": (
        "EI0406",
        lambda state: with_objects(
            state,
            DevicePool=(
                pool_body()
                | {
                    "status": {
                        "conditions": [condition("SurvivesReboot", "False", "UnitsNotInstalled", "nft")]
                    }
                },
            ),
        ),
    ),
    "a deletion that waits": (
        "EI0407",
        lambda state: with_objects(
            state,
            DevicePool=(
                pool_body()
                | {
                    "status": {"conditions": [condition("InUse", "True", "UsedByServices", "default/digits")]}
                },
            ),
        ),
    ),
    "objects that a quota refuses": (
        "EI0502",
        lambda state: with_objects(
            state,
            InferenceService=(service(condition("Ready", "Unknown", "X", "exceeded quota: small")),),
        ),
    ),
    "a service without a plan": (
        "EI0503",
        lambda state: with_objects(
            state, InferenceService=(service(condition("Planned", "False", reasons.INFEASIBLE, "3ms")),)
        ),
    ),
    "an SLO that is missed": (
        "EI0504",
        lambda state: with_objects(
            state,
            InferenceService=(service(condition("SLOMet", "False", reasons.OBJECTIVE_MISSED, "cam-1")),),
        ),
    ),
    "a placed service that does not answer": (
        "EI0505",
        lambda state: with_objects(
            state,
            InferenceService=(
                service(condition("Placed", "True", "X", ""), condition("Ready", "False", "X", "none")),
            ),
        ),
    ),
    "a first request that waited longer than the SLO": (
        "EI0506",
        lambda state: with_objects(state, Placement=(_loaded_late("91ms"),)),
    ),
    "a model that was returned from": (
        "EI0507",
        lambda state: with_objects(
            state,
            InferenceService=(service(condition("RolledOut", "False", "CandidateFails", "3 of 30")),),
        ),
    ),
    "a version of the runtimes that was returned from": (
        "EI0508",
        lambda state: with_objects(
            state,
            InferenceService=(service(condition("RuntimesUpdated", "False", "RuntimesFail", "3 of 30")),),
        ),
    ),
    "monitors that no Prometheus selects": (
        "EI0602",
        lambda state: with_objects(
            state,
            Prometheus=(
                prometheus(**{k: v for k, v in EVERYTHING.items() if k != "podMonitorNamespaceSelector"}),
            ),
        ),
    ),
    "no rules": ("EI0603", lambda state: with_objects(state, PrometheusRule=())),
}


def test_a_first_request_in_time_is_not_a_fault() -> None:
    state = with_objects(healthy(), Placement=(_loaded_late("90ms"),))
    assert "EI0506" not in bad(report(state))


@pytest.mark.parametrize(("code", "plant"), OTHER_FAULTS.values(), ids=OTHER_FAULTS.keys())
def test_other_faults_are_found(code: str, plant: Plant) -> None:
    assert code in bad(report(plant(healthy())))


def test_each_check_has_a_test_that_finds_its_fault() -> None:
    planted = {code for code, *_ in FAULTS.values()} | {code for code, *_ in OTHER_FAULTS.values()}
    assert {check.code for check in CHECKS} == planted


def test_without_an_api_server_nothing_else_is_reported() -> None:
    found = report(replace(healthy(), unreachable="no route", version=None))
    assert set(bad(found)) == {"EI0101"}
    assert {each.result for each in found.checks} == {"error", "skipped"}


def test_a_check_whose_objects_cannot_be_listed_is_skipped_with_the_reason() -> None:
    state = replace(healthy(), hidden={"Node": "forbidden"})
    skipped = {each.code: each.skipped for each in report(state).checks if each.result == "skipped"}
    assert {"EI0401", "EI0405"} <= set(skipped)
    assert "nodes" in skipped["EI0401"]


def test_an_annotation_of_the_object_suppresses_a_code() -> None:
    node = {**node_body("cam-9", "unknown"), "spec": {}}
    node["metadata"]["annotations"] = {SUPPRESS: "EI0405, EI0401"}
    state = with_objects(healthy(), Node=(*healthy().objects["Node"], node))
    assert bad(report(state)) == {}


def test_a_warning_is_bad_only_on_request() -> None:
    state = replace(healthy(), clocks={"node cam-1": 45.0})
    assert report(state).healthy
    assert not report(state, fail_on="warning").healthy


def test_an_empty_cluster_without_the_chart_reports_that_it_is_not_installed() -> None:
    empty = dict.fromkeys(healthy().objects, ())
    found = report(replace(healthy(), objects=empty, rights={}, servers=(), certificates=()))
    assert {"EI0201", "EI0203"} <= set(bad(found))


def test_codes_are_unique_and_numbered_by_category() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"EI\d{4}", code) for code in codes)
    assert codes == sorted(codes)
    assert {code[2:4]: check.category for code, check in zip(codes, CHECKS, strict=True)} == {
        f"{number:02}": category for number, category in enumerate(CATEGORIES, start=1)
    }


def test_the_report_as_text_marks_what_is_wrong_and_short_leaves_out_the_rest() -> None:
    found = report(FAULTS["Triton unreachable"][1](healthy()))
    lines = text(found).splitlines()
    assert any(line.startswith("  √ EI0101") for line in lines)
    assert any(line.startswith("  × EI0301") for line in lines)
    assert any("docs/doctor.md#ei0301" in line for line in lines)
    short = text(found, short=True)
    assert "EI0301" in short
    assert "EI0101" not in short


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("--strict-readiness=false",), "false"),
        (("--strict-readiness", "0"), "0"),
        (("sh", "-c", "exec tritonserver --strict-readiness=true --log-verbose=1"), "true"),
        (("--strict-readiness",), "true"),
        (("--log-verbose=1",), None),
    ],
)
def test_flags_of_triton_are_read_in_every_form(arguments: tuple[str, ...], value: str | None) -> None:
    assert flag(arguments, "strict-readiness") == value


def test_the_oldest_kubernetes_is_that_of_the_chart() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "edge-intelligence" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={kubernetes.OLDEST[0]}.{kubernetes.OLDEST[1]}.0-0"
