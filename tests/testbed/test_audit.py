import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from testbed import audit
from testbed.audit import Request, RequestCounts, account, count_requests, lines_of

OPERATOR = account("edge-intelligence", "edge-operator")
RUNTIME = account("default", "digits-runtime")
START = datetime(2026, 11, 29, 9, 4, tzinfo=UTC)
END = START + timedelta(minutes=2)
# As kube-apiserver 1.34.2 wrote it.
RECORDED = (
    '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata",'
    '"auditID":"736d3a99-796d-4bdf-99ac-bc45a3f4aef0","stage":"ResponseComplete",'
    '"requestURI":"/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements/digits-edge-a",'
    '"verb":"get","user":{"username":"system:serviceaccount:edge-intelligence:edge-operator",'
    '"uid":"14532320-2e2b-4817-b379-503916f0a005","groups":["system:serviceaccounts",'
    '"system:serviceaccounts:edge-intelligence","system:authenticated"],'
    '"extra":{"authentication.kubernetes.io/node-name":["cloud"]}},"sourceIPs":["10.244.0.5"],'
    '"userAgent":"OpenAPI-Generator/37.0.2/python","objectRef":{"resource":"placements",'
    '"namespace":"default","name":"digits-edge-a","apiGroup":"edge-intelligence.io",'
    '"apiVersion":"v1alpha1"},"responseStatus":{"metadata":{},"status":"Failure","reason":"NotFound",'
    '"code":404},"requestReceivedTimestamp":"2026-11-29T09:04:46.631880Z",'
    '"stageTimestamp":"2026-11-29T09:04:46.654830Z",'
    '"annotations":{"authorization.k8s.io/decision":"allow"}}\n'
)
PLACEMENTS = "placements.edge-intelligence.io"


def recorded(**changes: Any) -> str:
    """The recorded line with other fields; those of `user` and `objectRef` are merged."""
    event = json.loads(RECORDED)
    for key, value in changes.items():
        event[key] = event[key] | value if isinstance(value, dict) else value
    return json.dumps(event) + "\n"


def counted(*lines: str) -> RequestCounts:
    return count_requests(lines, START, END)


def test_requests_count_by_user_verb_and_resource() -> None:
    write = recorded(verb="patch", user={"username": RUNTIME}, objectRef={"subresource": "status"})

    found = counted(RECORDED, RECORDED, write)

    assert found.requests == {
        Request(OPERATOR, "get", PLACEMENTS): 2,
        Request(RUNTIME, "patch", f"{PLACEMENTS}/status"): 1,
    }
    assert found.reads(lambda _: True) == 2
    assert found.writes(lambda _: True) == 1
    assert found.writes(lambda user: user == OPERATOR) == 0
    assert found.by_request(lambda user: user == OPERATOR) == {f"get {PLACEMENTS}": 2}


def test_only_requests_that_arrived_in_the_window_count() -> None:
    times = ("09:03:59.999999Z", "09:04:00.000000Z", "09:05:59.999999Z", "09:06:00.000000Z")

    found = counted(*(recorded(requestReceivedTimestamp=f"2026-11-29T{time}") for time in times))

    assert found.reads(lambda _: True) == 2


def test_renewals_of_leases_count_apart() -> None:
    lease = {"resource": "leases", "apiGroup": "coordination.k8s.io"}

    found = counted(recorded(verb="update", objectRef=lease))

    assert found.leases == {Request(OPERATOR, "update", "leases.coordination.k8s.io"): 1}
    assert found.writes(lambda _: True) == 0


def test_a_watch_counts_once_and_not_among_the_reads() -> None:
    watch = [recorded(verb="watch", stage=stage) for stage in ("ResponseStarted", "ResponseComplete")]

    found = counted(*watch)

    assert found.watches == {Request(OPERATOR, "watch", PLACEMENTS): 1}
    assert found.reads(lambda _: True) == 0


def test_a_request_counts_when_it_is_complete() -> None:
    stages = ("RequestReceived", "ResponseStarted", "ResponseComplete")

    found = counted(*(recorded(verb="list", stage=stage) for stage in stages))

    assert found.reads(lambda _: True) == 1


def test_a_request_without_an_object_counts_by_its_path() -> None:
    discovery = json.loads(recorded(requestURI="/apis?timeout=32s"))
    del discovery["objectRef"]

    assert counted(json.dumps(discovery)).requests == {Request(OPERATOR, "get", "/apis"): 1}


def test_a_line_that_is_cut_off_is_ignored() -> None:
    assert counted(RECORDED, RECORDED[:200]).reads(lambda _: True) == 1


def test_rotated_files_are_read_before_the_current_one(tmp_path: Path) -> None:
    for name in ("audit.log", "audit-2026-11-29T09-05-00.000.log", "audit-2026-11-29T09-01-00.000.log"):
        (tmp_path / name).write_text(f"{name}\n")

    assert list(lines_of(tmp_path)) == [
        "audit-2026-11-29T09-01-00.000.log\n",
        "audit-2026-11-29T09-05-00.000.log\n",
        "audit.log\n",
    ]


def test_the_policy_has_metadata_only_and_leaves_the_control_plane_out(tmp_path: Path) -> None:
    flags = audit.flags(tmp_path / "audit")
    policy = yaml.safe_load((tmp_path / "audit" / "policy.yaml").read_text())

    assert policy["omitStages"] == ["RequestReceived"]
    assert policy["rules"][-1] == {"level": "Metadata"}
    assert {rule["level"] for rule in policy["rules"][:-1]} == {"None"}
    assert "system:nodes" in policy["rules"][1]["userGroups"]
    assert {"--audit-log-maxsize=64", "--audit-log-maxbackup=2"} <= set(flags)
