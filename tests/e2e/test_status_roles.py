"""Without an admission policy, Roles limit each runtime to reports on the Placements of its own node."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import yaml

from demo import installation
from runtime_tokens import Write, write_as
from trials import Document, Trial, another_service

pytestmark = pytest.mark.extended

NODES = ("edge-a", "edge-b", "edge-c")
OWN = {node: f"edge-runtime-{node}" for node in NODES}
SHARED = dict.fromkeys(NODES, "edge-runtime")
ROLLED_OUT = 240.0  # seconds until a rollout to all nodes is given up


def accounts(trial: Trial) -> dict[str, str]:
    """The account of the only pod at each node; of several pods, all that they have."""
    found: dict[str, list[str]] = {}
    selector = ("-l", "edge-intelligence.io/runtime", "-n", "default", "-o", "json")
    for pod in json.loads(trial.cluster.kubectl("get", "pods", *selector))["items"]:
        node = pod["metadata"]["labels"]["edge-intelligence.io/node"]
        found.setdefault(node, []).append(pod["spec"]["serviceAccountName"])
    return {node: " ".join(names) for node, names in found.items()}


def names(trial: Trial, kind: str) -> set[str]:
    """The names of the runtimes' objects of a kind."""
    label = "app.kubernetes.io/component=runtime"
    found = trial.cluster.kubectl("get", kind, "-n", "default", "-l", label, "-o", "name")
    return {name.partition("/")[2] for name in found.split()}


def reports_on(trial: Trial, node: str) -> list[str]:
    """The Placements whose status the Role of a node's runtime names."""
    rules: list[Document] = trial.get("role", OWN[node])["rules"]
    return [name for rule in rules for name in rule.get("resourceNames", ())]


def last_updates(trial: Trial) -> dict[str, str]:
    return {node: found["status"]["lastUpdated"] for node, found in trial.placements().items()}


@contextmanager
def requests(trial: Trial) -> Iterator[None]:
    """Requests of clients at all nodes while the block runs, none of which may be lost."""
    with ExitStack() as stack:
        loads = [stack.enter_context(trial.load(node, rate=2, host="digits")) for node in NODES]
        yield
        for load in loads:
            load.wait_for("content", lambda answer: "error" not in answer)
    for load in loads:
        load.check_none_lost()


@pytest.fixture(scope="module")
def switched(installed: Trial) -> Iterator[Trial]:
    """The example on runtimes with accounts of their own, changed to those and back under load."""
    with installed.unlimited():
        try:
            with requests(installed):
                installation.install(installed.cluster, installed.root, "runtime.statusRights=Roles")
                installed.wait("accounts of their own", lambda: accounts(installed) == OWN, ROLLED_OUT)
            yield installed
        finally:
            with requests(installed):
                installation.install(installed.cluster, installed.root)
                installed.wait("the shared account", lambda: accounts(installed) == SHARED, ROLLED_OUT)
    installed.wait("the end of the Roles", lambda: not names(installed, "roles"))
    assert names(installed, "serviceaccounts") == {"edge-runtime"}


@pytest.fixture
def roles(switched: Trial, trial: Trial) -> Trial:
    return trial


@pytest.fixture
def write(roles: Trial) -> Write:
    """Patches the Placement of a node with a token like that of edge-a's runtime; returns the response."""
    return write_as(roles, "edge-a", OWN["edge-a"])


def test_no_account_is_left_that_could_report_for_all_nodes(roles: Trial) -> None:
    roles.wait("the end of the shared account", lambda: names(roles, "serviceaccounts") == {*OWN.values()})
    assert names(roles, "rolebindings") == names(roles, "roles") == {*OWN.values()}
    policies = roles.cluster.kubectl("get", "validatingadmissionpolicies", "-o", "name")
    assert "edge-runtime" not in policies


def test_a_runtime_reports_on_its_own_node(write: Write) -> None:
    code, text = write("edge-a", {"status": {"message": ""}})
    assert code == 200, text


def test_a_report_on_another_node_is_refused(roles: Trial, write: Write) -> None:
    code, text = write("edge-b", {"status": {"message": "forged"}})
    assert code == 403, text
    assert 'cannot patch resource "placements/status"' in json.loads(text)["message"]
    assert roles.placements()["edge-b"]["status"].get("message") != "forged"


def test_a_runtime_cannot_change_the_spec_even_at_its_node(write: Write) -> None:
    code, text = write("edge-a", {"spec": {"node": "edge-b"}}, "")
    assert code == 403, text


def test_runtimes_report_and_respond(roles: Trial) -> None:
    before = last_updates(roles)
    with requests(roles):
        roles.wait(
            "a report of each runtime",
            lambda: all(at != before[node] for node, at in last_updates(roles).items()),
        )


def test_the_roles_follow_the_placements_of_a_service_that_comes_and_goes(roles: Trial) -> None:
    kubectl = roles.cluster.kubectl
    kubectl("apply", "-f", "-", text=yaml.safe_dump(another_service("letters")))
    try:
        roles.wait("letters Ready", lambda: roles.condition("letters", "Ready").get("status") == "True")
        assert reports_on(roles, "edge-b") == ["digits.edge-b", "letters.edge-b"]
        assert roles.get("placement", "letters.edge-b")["status"]["loaded"] is True
    finally:
        kubectl("delete", "inferenceservice", "letters", "--wait", "--timeout=90s")
    roles.wait("the Role without it", lambda: reports_on(roles, "edge-b") == ["digits.edge-b"])
