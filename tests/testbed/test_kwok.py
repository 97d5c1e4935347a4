from pathlib import Path

from testbed import kwok
from testbed.binaries import GOMODS, KWOK, PROGRAMS
from testbed.layout import Layout

LAYOUT = Layout.of_checkout(Path("/checkout"))


def test_kwok_is_pinned_but_not_built_with_the_clusters_programs() -> None:
    assert KWOK not in PROGRAMS
    assert f"sigs.k8s.io/kwok {KWOK.version}" in (GOMODS / KWOK.module / "go.mod").read_text()


def test_kwok_manages_only_nodes_that_say_that_they_are_simulated() -> None:
    [daemon] = kwok.daemons(LAYOUT, "10.99.0.10", Path("/kwok"))
    node = kwok.node(3)

    [selector] = [flag for flag in daemon.argv if "annotation-selector" in flag]
    key, _, value = selector.partition("=")[2].partition("=")
    assert node["metadata"]["annotations"] == {key: value}


def test_a_pool_of_device_classes_does_not_select_simulated_nodes() -> None:
    labels = kwok.node(3)["metadata"]["labels"]

    assert labels == {"edge-intelligence.io/simulated": "true", "kubernetes.io/hostname": "simulated-3"}
