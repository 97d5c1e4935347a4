import yaml

from testbed import triton
from testbed.bed import MANIFESTS


def test_the_second_server_differs_from_the_first_in_its_name_and_address_alone() -> None:
    text = (MANIFESTS / "triton.yaml").read_text()
    first = {body["kind"]: body for body in yaml.safe_load_all(text)}
    second = {body["kind"]: body for body in yaml.safe_load_all(triton.outside(text))}

    assert set(second) == {"Deployment", "Service"}
    label = {"app.kubernetes.io/name": triton.OUTSIDE}
    assert second["Service"]["spec"]["selector"] == label
    assert second["Deployment"]["spec"]["selector"]["matchLabels"] == label
    template = second["Deployment"]["spec"]["template"]
    assert template["metadata"] == {"labels": label}
    assert template["spec"].pop("hostNetwork")
    assert template["spec"].pop("dnsPolicy") == "ClusterFirstWithHostNet"
    # The restriction of model control with it.
    assert template["spec"] == first["Deployment"]["spec"]["template"]["spec"]
