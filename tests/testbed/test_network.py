from testbed.network import build_commands
from testbed.topology import NodeSpec, Topology


def test_every_link_is_made_inside_the_namespaces() -> None:
    commands = build_commands(Topology.with_cloud([NodeSpec("edge-a", "camera")]))

    made = [command for command in commands if command[:2] != ["ip", "netns"]]
    assert all(command[:2] == ["ip", "-n"] for command in made)
    veths = [c for c in commands if "veth" in c]
    assert [c[c.index("add") + 1] for c in veths] == ["v-cloud", "v-edge-a", "l-edge-a"]


def test_every_node_has_a_route_to_the_pods_of_every_other_node_edge_nodes_by_their_local_network() -> None:
    topology = Topology.with_cloud([NodeSpec("edge-a", "camera"), NodeSpec("edge-b", "camera")])
    routes = {
        (command[2], command[5], command[7])
        for command in build_commands(topology)
        if command[3:5] == ["route", "add"] and command[6] == "via"
    }

    assert routes == {
        ("cloud", "10.244.1.0/24", "10.99.0.11"),
        ("cloud", "10.244.2.0/24", "10.99.0.12"),
        ("edge-a", "10.244.0.0/24", "10.99.0.10"),
        ("edge-a", "10.244.2.0/24", "10.98.0.12"),
        ("edge-b", "10.244.0.0/24", "10.99.0.10"),
        ("edge-b", "10.244.1.0/24", "10.98.0.11"),
    }


def test_names_of_devices_fit_the_kernels_fifteen_characters() -> None:
    longest = NodeSpec("a" * 13, "camera")

    for command in build_commands(Topology.with_cloud([longest])):
        if "veth" in command:
            assert len(command[command.index("add") + 1]) <= 15
