import pytest

from messages import mentions
from testbed.errors import BadValueError, UnknownNodeError
from testbed.topology import DEFAULT_NODES, NodeSpec, Topology, edge_nodes, parse_node


def test_a_nodes_place_is_its_number_in_every_address() -> None:
    topology = Topology.with_cloud(DEFAULT_NODES)

    assert [node.name for node in topology.nodes] == ["cloud", "edge-a", "edge-b", "edge-c"]
    assert topology.address("cloud") == "10.99.0.10"
    assert topology.address("edge-c") == "10.99.0.13"
    assert topology.pod_subnet("edge-b") == "10.244.2.0/24"


def test_a_node_reads_as_name_class_and_speed() -> None:
    assert parse_node("edge-x:gateway:0.4") == NodeSpec("edge-x", "gateway", 0.4)
    assert parse_node("edge-x:gateway") == NodeSpec("edge-x", "gateway", None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("edge-x", ("--nodes edge-x:", "name:class:speed", "edge-a:gateway:0.4")),
        ("edge-x:camera:fast", ("--nodes edge-x:camera:fast", "speed 'fast'")),
        ("edge-x:camera:0", ("speed 0", "share", 0.01, 64)),
        ("Edge_X:camera", ("node name 'Edge_X'", 13, "a-z", "0-9", "edge-a")),
        ("a-name-of-fourteen:camera", ("node name 'a-name-of-fourteen'",)),
    ],
)
def test_a_node_that_cannot_be_read_is_refused_with_the_fix(text: str, parts: tuple[object, ...]) -> None:
    with pytest.raises(BadValueError, match=mentions(*parts)):
        parse_node(text)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(BadValueError, match="edge-a is named twice"):
        Topology.with_cloud([NodeSpec("edge-a", "camera"), NodeSpec("edge-a", "gateway")])
    with pytest.raises(BadValueError, match="cloud is named twice"):
        Topology.with_cloud([NodeSpec("cloud", "camera")])


def test_an_unknown_node_names_those_there_are() -> None:
    with pytest.raises(UnknownNodeError, match=mentions("'edge-z'", "cloud", "edge-a")):
        Topology.with_cloud(DEFAULT_NODES).node("edge-z")


def test_a_count_of_nodes_continues_from_the_default_ones() -> None:
    assert [node.name for node in edge_nodes(1)] == ["edge-a"]
    assert [node.name for node in edge_nodes(5)] == ["edge-a", "edge-b", "edge-c", "edge-4", "edge-5"]
    with pytest.raises(BadValueError, match="--nodes 0: use 1 to"):
        edge_nodes(0)


def test_a_topology_survives_being_written_down() -> None:
    topology = Topology.with_cloud(DEFAULT_NODES)

    assert Topology.from_json(topology.to_json()) == topology
