from pathlib import Path

import pytest

from messages import mentions
from testbed.cli import checkout, main, nodes_of, parse_speed, parser, split
from testbed.errors import BadValueError
from testbed.topology import NodeSpec


@pytest.fixture
def empty(tmp_path: Path) -> list[str]:
    """Arguments that name a checkout in which nothing runs."""
    return ["--root", str(tmp_path)]


def test_everything_after_kubectl_is_kubectls() -> None:
    own, passed_on = split(["--root", "/x", "kubectl", "-n", "triton", "get", "pods", "--help"])

    assert own == ["--root", "/x", "kubectl"]
    assert passed_on == ["-n", "triton", "get", "pods", "--help"]


def test_everything_after_shell_and_its_node_is_a_program() -> None:
    given = ["shell", "--at", "edge-b", "kubectl", "get", "pods", "-n", "triton"]
    own, passed_on = split(given)
    arguments = parser().parse_args(own)
    assert (passed_on, arguments.at) == ([], "edge-b")
    assert arguments.program == ["kubectl", "get", "pods", "-n", "triton"]
    assert (parser().parse_args(["shell"]).at, parser().parse_args(["shell"]).program) == ("cloud", [])


@pytest.mark.parametrize(
    "command",
    [
        ["shell", "kubectl", "get", "nodes"],
        ["link", "edge-a", "--rate", "2M"],
        ["class", "edge-a", "--speed", "0.2"],
        ["node", "edge-a", "--kill"],
        ["kubectl", "get", "nodes"],
    ],
)
def test_a_command_that_needs_a_cluster_says_how_to_start_one(
    command: list[str], empty: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*empty, *command]) == 3
    assert "`testbed up`" in capsys.readouterr().err


def test_status_of_nothing_is_1(empty: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*empty, "status"]) == 1
    assert "`testbed up`" in capsys.readouterr().out


def test_down_of_nothing_is_done_and_leaves_nothing(empty: list[str], tmp_path: Path) -> None:
    assert main([*empty, "down"]) == 0
    assert main([*empty, "down"]) == 0
    assert not (tmp_path / ".testbed").exists()


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (["link", "edge-a", "--rate", "2X"], ("--rate 2X", "bit/s", "250k", "2M")),
        (["link", "edge-a", "--loss", "1%"], ("--loss 1%", "0.01", "none")),
        (
            ["class", "edge-a", "--speed", "slow"],
            ("--speed slow", "share"),
        ),
        (["up", "--nodes", "edge-a"], ("--nodes edge-a", "name:class")),
        (["node", "edge-a", "--kill", "--offline"], ("--offline", "--reboot")),
        (["logs", "kubelet-x"], ("'kubelet-x'",)),
    ],
)
def test_bad_values_are_refused_before_anything_is_done(
    command: list[str], parts: tuple[str, ...], empty: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*empty, *command]) == 1
    assert mentions(*parts).search(capsys.readouterr().err)


def test_help_says_what_each_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    shown = capsys.readouterr().out
    for command in ("up", "down", "status", "kubectl", "helm", "shell", "link", "class", "node", "logs"):
        assert f"\n    {command} " in shown


def test_nodes_are_a_count_or_a_list() -> None:
    assert nodes_of(None) is None
    assert nodes_of(["1"]) == [NodeSpec("edge-a", "gateway", 0.4)]
    assert nodes_of(["a:camera:0.2", "b:gateway"]) == [NodeSpec("a", "camera", 0.2), NodeSpec("b", "gateway")]
    with pytest.raises(BadValueError, match=mentions("speed 99", "share")):
        parse_speed("99")


def test_the_checkout_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    (tmp_path / "testbed" / "src" / "testbed").mkdir(parents=True)
    inside = tmp_path / "docs" / "decisions"
    inside.mkdir(parents=True)

    assert checkout(inside) == tmp_path
    with pytest.raises(BadValueError, match="--root"):
        checkout(Path("/"))
