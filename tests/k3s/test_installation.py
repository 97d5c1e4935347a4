"""The chart on a cluster that is like K3s: by its page, upgraded, uninstalled, and as a HelmChart."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experience import install_page
from edge_operator.names import FINALIZER, IN_USE_FINALIZER
from k3s_site import CHART, EDGE, NAMESPACE, RELEASE, ROOT, Site
from testbed.errors import KubectlFailed

KINDS = "inferenceservices,devicepools,tenants"
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "retail"},
    "spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
}
MOST_BYTES = 1 << 20
"""What etcd takes of one object: the limit of a release's Secret."""
CONNECT = """
import socket, sys, time
ends = time.monotonic() + 15
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
        break
    except OSError:
        if time.monotonic() > ends:
            raise
        time.sleep(0.5)
"""
"""Connects within 15 s: a firewall learns the address of a new pod after the pod has started."""


def earlier_chart(folder: Path) -> Path:
    """Returns the chart as it was: CRDs in the folder crds/, which Helm installs and never upgrades."""
    chart = folder / "edge-intelligence"
    shutil.copytree(CHART, chart)
    (chart / "files" / "crds").rename(chart / "crds")
    (chart / "templates" / "crds.yaml").unlink()
    (chart / "templates" / "crd-adoption.yaml").unlink()
    return chart


def finalizers(site: Site) -> list[list[str]]:
    """The finalizers of each service, pool and tenant, in this order of kinds."""
    return [
        body["metadata"].get("finalizers", [])
        for kind in KINDS.split(",")
        for body in site.get(kind, "-A")["items"]
    ]


def owners(site: Site) -> set[str]:
    """The releases that own the CRDs."""
    crds = site.get("crd", "-o", "json")["items"]
    return {
        (crd["metadata"].get("annotations") or {}).get("meta.helm.sh/release-name", "")
        for crd in crds
        if crd["spec"]["group"] == "edge-intelligence.io"
    }


def test_the_installation_page_leads_from_a_checkout_to_a_response_and_back(
    site: Site, tmp_path: Path
) -> None:
    assert EDGE in install_page.NODES
    install_page.without_class(site.bed)
    outputs = {}
    try:
        for block in install_page.typed(site.bed, ROOT, tmp_path):
            print(f"{block.ended - block.began:.1f} s: {block.text}{block.output[-2000:]}")
            outputs[block.text] = block.output
    finally:
        class_ = f"{install_page.CLASS_LABEL}={EDGE.device_class}"
        site.bed.kubectl("label", "node", EDGE.name, class_, "--overwrite")
        if "helm uninstall" not in "".join(outputs):
            print(site.state())
            site.clear()
    said = next(output for text, output in outputs.items() if install_page.ANSWERS in text)
    assert "answered in" in said
    assert "exit exit" in said
    tested = next(output for text, output in outputs.items() if "helm test" in text)
    assert "Phase:          Succeeded" in tested
    assert site.uids() == {}, "nothing is left"
    ours = ("-l", "app.kubernetes.io/part-of=edge-intelligence", "-o", "name")
    assert site.bed.kubectl("get", "priorityclasses,clusterroles,clusterrolebindings", *ours) == ""
    assert NAMESPACE not in site.bed.kubectl("get", "namespaces", "-o", "name")


def test_an_installation_without_values_serves_and_is_tested(site: Site) -> None:
    site.install()
    claim = site.get("pvc", "model-store", "-n", NAMESPACE)
    assert (claim["status"]["phase"], claim["spec"]["storageClassName"]) == ("Bound", "local-path")
    pods = site.get("pods", "-n", NAMESPACE)["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"cloud"}, "servers are preferred over cameras"
    release = site.get("secret", f"sh.helm.release.v1.{RELEASE}.v1", "-n", NAMESPACE)
    size = len(json.dumps(release))
    print(f"release Secret: {size} bytes")
    assert size < MOST_BYTES / 2
    site.serve()
    site.helm("test", RELEASE, "--timeout", "120s")
    traffic = site.traffic(forever=False)
    traffic.process.wait(timeout=60)
    assert traffic.stop() == [{"outputs": 1}], "a client outside the cluster reaches the entry node"


def test_network_policies_close_what_the_product_does_not_need(serving: Site) -> None:
    site = serving
    pod = site.get("deployment", "model-store", "-n", NAMESPACE)["spec"]["template"]["spec"]
    image = pod["containers"][0]["image"]

    def reaches(name: str, host: str, port: int) -> bool:
        once = ("--restart=Never", "--rm", "-i", "--quiet", "-n", "default", f"--image={image}")
        try:
            site.bed.kubectl("run", name, *once, "--command", "--", "python3", "-c", CONNECT, host, str(port))
        except KubectlFailed:
            return False
        return True

    store = site.get("service", "model-store", "-n", NAMESPACE)["spec"]["clusterIP"]
    runtime = site.get("service", "digits", "-n", "default")["spec"]["clusterIP"]
    operator = site.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=edge-operator")["items"][0]
    assert reaches("client", runtime, 8080)
    assert reaches("prometheus", operator["status"]["podIP"], 9090)
    assert not reaches("stranger", store, 8080)
    assert not reaches("stranger-too", operator["status"]["podIP"], 8080)


def test_a_failed_upgrade_keeps_every_service_and_loses_no_request(serving: Site) -> None:
    site = serving
    before = site.uids()
    traffic = site.traffic()
    with pytest.raises(KubectlFailed):
        site.helm(
            *("upgrade", RELEASE, str(CHART), "--set", "operator.image.tag=missing"),
            *("--atomic", "--timeout", "15s"),
        )
    responses = traffic.stop()
    assert site.uids() == before
    assert [each for each in responses if "error" in each] == []
    assert responses
    assert json.loads(site.helm("list", "--output", "json"))[0]["status"] == "deployed"


def test_an_uninstallation_keeps_crds_and_services_and_a_new_one_takes_them_up(serving: Site) -> None:
    site = serving
    before = site.uids()
    traffic = site.traffic()
    site.uninstall()
    assert site.uids() == before
    services = site.get("inferenceservices", "-A")["items"]
    assert not any(FINALIZER in body["metadata"].get("finalizers", ()) for body in services)
    site.install()
    site.wait_ready()
    assert site.uids() == before
    responses = traffic.stop()
    assert [each for each in responses if "error" in each] == [], (
        "entry nodes need neither operator nor store"
    )


def test_what_is_deleted_after_the_uninstallation_goes_at_once(serving: Site) -> None:
    site = serving
    site.apply(TENANT)
    wanted = [[FINALIZER], [IN_USE_FINALIZER], [IN_USE_FINALIZER]]
    site.wait(lambda: finalizers(site) == wanted, "the finalizers are not set")
    traffic = site.traffic()
    site.uninstall()
    assert finalizers(site) == [[], [], []]
    responses = traffic.stop()
    assert responses
    assert [each for each in responses if "error" in each] == []
    site.bed.kubectl("delete", KINDS, "-A", "--all", "--timeout=30s")
    site.install()
    runtimes = ("get", "deployments", "-n", "default", "-o", "name")
    site.wait(lambda: site.bed.kubectl(*runtimes) == "", "a runtime without a service is left")


def test_a_hook_that_fails_keeps_no_release_from_being_uninstalled(
    serving: Site,
) -> None:
    site = serving
    site.helm("upgrade", RELEASE, str(CHART), "--set", "operator.image.tag=missing")
    with pytest.raises(KubectlFailed):
        site.helm("uninstall", RELEASE, "--wait", "--timeout", "60s")
    assert json.loads(site.helm("list", "--all", "--output", "json")) == []
    assert FINALIZER in finalizers(site)[0]
    site.unprotect()
    site.bed.kubectl("delete", KINDS, "-A", "--all", "--timeout=30s")


def test_an_uninstallation_without_data_serves_until_the_service_goes_and_leaves_nothing(
    serving: Site,
) -> None:
    site = serving
    site.apply(TENANT)
    traffic = site.traffic()
    site.wait(lambda: bool(traffic.responses), "no response yet")
    site.bed.kubectl("delete", KINDS, "-A", "--all", "--timeout=180s")
    site.uninstall()
    crds = [name for name in site.uids() if name.endswith(".edge-intelligence.io")]
    site.bed.kubectl("delete", "crd", *crds, "--timeout=60s")
    site.bed.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
    responses = traffic.stop()
    answered = ["error" not in each for each in responses]
    assert answered == sorted(answered, reverse=True), "a request failed while there was a service"
    assert {answered[0], answered[-1]} == {True, False}
    assert site.uids() == {}
    assert site.bed.kubectl("get", "deployments,pods", "-n", "default", "-o", "name") == ""
    site.install()
    site.serve()
    again = site.traffic(forever=False)
    again.process.wait(timeout=60)
    assert again.stop() == [{"outputs": 1}]


def test_another_release_fails_with_the_owner_of_the_crds(serving: Site) -> None:
    site = serving
    with pytest.raises(
        KubectlFailed, match=r'belongs to the Helm release "edge-intelligence".*crds.enabled=false'
    ):
        site.bed.helm("install", "second", str(CHART), "--namespace", "other", "--create-namespace")
    site.bed.kubectl("delete", "namespace", "other", "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("version", [3, 4])
def test_an_upgrade_adopts_the_crds_of_an_earlier_chart_while_requests_flow(
    serving: Site, tmp_path: Path, version: int
) -> None:
    site = serving
    upgrade = site.helm if version == 3 else site.helm_4
    site.uninstall()
    crds = [name for name in site.uids() if name.endswith(".edge-intelligence.io")]
    site.bed.kubectl("delete", "inferenceservices,devicepools", "-A", "--all", "--wait=false")
    site.bed.kubectl("delete", "crd", *crds)
    site.install(chart=earlier_chart(tmp_path))
    assert owners(site) == {""}
    site.serve()
    service = site.get("inferenceservice", "digits", "-n", "default")["metadata"]["uid"]
    traffic = site.traffic()
    for _ in range(2):  # the first adopts them, the second has them in the release
        upgrade("upgrade", RELEASE, str(CHART), "--wait", "--timeout", "180s")
        assert owners(site) == {RELEASE}
    responses = traffic.stop()
    assert [each for each in responses if "error" in each] == []
    assert responses
    assert site.get("inferenceservice", "digits", "-n", "default")["metadata"]["uid"] == service
    assert site.helm("get", "manifest", RELEASE).count("kind: CustomResourceDefinition") == 5
    managers = site.get("crd", "tenants.edge-intelligence.io", "--show-managed-fields")["metadata"][
        "managedFields"
    ]
    assert {each["manager"] for each in managers if not each.get("subresource")} == {"helm"}


def test_helm_4_installs_upgrades_and_uninstalls(serving: Site) -> None:
    site = serving
    before = site.uids()
    site.uninstall()
    waiting = ("--wait", "--timeout", "180s")
    site.helm_4("install", RELEASE, str(CHART), "--create-namespace", *waiting)
    upgraded = ("--set", "operator.replicas=1", "--set", "crds.enabled=false")
    site.helm_4("upgrade", RELEASE, str(CHART), *upgraded, *waiting)
    assert site.uids() == before
    site.helm_4("upgrade", RELEASE, str(CHART), "--set", "crds.enabled=true", *waiting)
    site.wait_ready()
    site.helm_4("test", RELEASE, "--timeout", "120s")
    site.helm_4("uninstall", RELEASE, "--wait")
    assert site.uids() == before


def test_a_helmchart_object_installs_upgrades_and_fails_without_losing_a_service(
    serving: Site, tmp_path: Path
) -> None:
    site = serving
    before = site.uids()
    site.uninstall()
    site.bed.helm("package", str(CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("*.tgz")
    content = base64.b64encode(archive.read_bytes()).decode()
    assert len(content) < MOST_BYTES / 2

    def apply(**more: Any) -> None:
        spec = {
            "chartContent": content,
            "targetNamespace": NAMESPACE,
            "createNamespace": True,
            "backOffLimit": 2,
        }
        meta = {"name": RELEASE, "namespace": "kube-system"}
        body = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "metadata": meta, "spec": spec | more}
        site.apply(body)

    def releases() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(site.helm("list", "--all", "--output", "json"))
        return found

    apply()
    site.wait(
        lambda: [each["status"] for each in releases()] == ["deployed"], "the HelmChart is not deployed"
    )
    site.wait_ready()
    assert site.uids() == before
    traffic = site.traffic()
    # Refused by the schema: the controller tries again, and uninstalls first what it takes for failed.
    apply(valuesContent="operator: {replicas: many}")
    site.wait(
        lambda: any(
            each["type"] == "Failed" and each["status"] == "True"
            for each in site.get("helmchart", RELEASE, "-n", "kube-system")
            .get("status", {})
            .get("conditions", ())
        ),
        "the HelmChart did not fail",
    )
    assert site.uids() == before
    apply(valuesContent="operator: {replicas: 1}")
    site.wait(
        lambda: site.get("deployment", "edge-operator", "-n", NAMESPACE)["status"].get("readyReplicas") == 1,
        "the HelmChart was not upgraded",
    )
    site.bed.kubectl("delete", "helmchart", RELEASE, "-n", "kube-system", "--timeout=120s")
    assert releases() == []
    assert site.uids() == before
    assert [each for each in traffic.stop() if "error" in each] == []
